"""The figures of an evaluation."""

from typing import Any

from act_ros.evaluation.report.scores import scores, timings
from act_ros.evaluation.run.outcome import Evaluation


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """All figures of an evaluation, as `metrics.json` holds them."""
    checkpoints = {}
    for label in evaluation.labels():
        results, std = evaluation.of(label), evaluation.std(label)
        offset = evaluation.offset(label)
        checkpoints[label] = {
            'ckpt_dir': evaluation.plan.checkpoints[label].ckpt_dir,
            'offset': offset,
            'total': scores(results, evaluation.task, std, offset),
            'episodes': [
                {
                    **{k: r.about[k] for k in ('bag', 'episode', 'interrupted')},
                    'seconds': (r.about['stop'] - r.about['start']) / 1e9,
                    **scores([r], evaluation.task, std, offset),
                    'timings': timings([r]),
                }
                for r in results
            ],
            'timings': timings(results),
        }
    empty = [
        {**{k: r.about[k] for k in ('bag', 'episode', 'checkpoint')}, 'why': why}
        for r in evaluation.in_order()
        if (why := r.about.get('empty'))
    ]
    not_recorded = sorted({t for r in evaluation.in_order() for t in r.about['not_recorded']})
    return {
        'task': evaluation.task.name,
        'rate_hz': evaluation.task.rate,
        'partial': evaluation.partial,
        'episodes_done': len(evaluation.results),
        'episodes_planned': len(evaluation.plan.jobs()),
        'latency_ms': evaluation.plan.options.latency * 1e3,
        'stride': evaluation.plan.options.stride,
        'damage': evaluation.damage(),
        'empty_episodes': empty,
        'topics_not_recorded': not_recorded,
        'checkpoints': checkpoints,
    }
