"""The figures of an evaluation."""

from pathlib import PurePath
from typing import Any

import numpy as np

from act_ros.control import patient
from act_ros.evaluation.report.motion import motion, sweep
from act_ros.evaluation.report.scores import scores, timings, worst
from act_ros.evaluation.report.summary import in_one_sentence
from act_ros.evaluation.report.verdict import verdict
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.policy.interface import FAR
from act_ros.safety import lacking_limits


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """All figures of an evaluation, as `metrics.json` holds them."""
    checkpoints, task = {}, evaluation.task
    for label in evaluation.labels():
        results, std = evaluation.of(label), evaluation.std(label)
        offset = evaluation.offset(label)
        total = scores(results, task, std, offset)
        checkpoints[label] = checkpoint = {
            'ckpt_dir': evaluation.plan.checkpoints[label].ckpt_dir,
            'offset': offset,
            'total': total,
            'verdict': verdict(total),
            'worst': _worst(evaluation, label),
            'motion': motion(results, task),
            'sweep': sweep(results, task, std, offset),
            'episodes': [
                {
                    **{k: r.about[k] for k in ('bag', 'episode', 'interrupted')},
                    'seconds': (r.about['stop'] - r.about['start']) / 1e9,
                    **scores([r], task, std, offset),
                    'motion': motion([r], task),
                    'timings': timings([r]),
                }
                for r in results
            ],
            'timings': timings(results),
            'far_from_training': _far_from_training(evaluation, label),
        }
        checkpoint['summary'] = in_one_sentence(checkpoint, len(results))
    empty = [
        {**{k: r.about[k] for k in ('bag', 'episode', 'checkpoint')}, 'why': why}
        for r in evaluation.in_order()
        if (why := r.about.get('empty'))
    ]
    not_recorded = sorted({t for r in evaluation.in_order() for t in r.about['not_recorded']})
    return {
        'task': task.name,
        'rate_hz': task.rate,
        'partial': evaluation.partial,
        'episodes_done': len(evaluation.results),
        'episodes_planned': len(evaluation.plan.jobs()),
        'latency_ms': evaluation.plan.options.latencies[0] * 1e3,
        'command_timeouts': _command_timeouts(evaluation),
        'stride': evaluation.plan.options.stride,
        'damage': evaluation.damage(),
        'empty_episodes': empty,
        'topics_not_recorded': not_recorded,
        'recorded_commands': evaluation.commands(),
        'limits_not_given': _limits_not_given(evaluation),
        'checkpoints': checkpoints,
    }


def _worst(evaluation: Evaluation, label: str) -> list[dict[str, Any]]:
    """The moments with the largest errors, the largest first."""
    results = evaluation.of(label)
    moments = []
    for i, row, error in worst(results, evaluation.std(label), evaluation.offset(label)):
        about = results[i].about
        seconds = (int(results[i].ticks['time'][row]) - about['bag_start']) / 1e9
        moments.append({
            'bag': PurePath(about['bag']).name, 'episode': about['episode'], 'seconds': seconds,
            'error_normalised': error,
        })  # fmt: skip
    return moments


def _command_timeouts(evaluation: Evaluation) -> dict[str, float]:
    """At which latencies [ms] the node would refuse its command_timeout; what was taken [s]."""
    settings = next(iter(evaluation.plan.checkpoints.values()))
    taken = {late: patient(settings, late) for late in evaluation.plan.options.latencies}
    return {
        f'{late * 1e3:g}': each.command_timeout
        for late, each in taken.items()
        if each.command_timeout > settings.command_timeout
    }


def _limits_not_given(evaluation: Evaluation) -> list[str]:
    """Without which limits it was: the node itself would not begin."""
    settings = next(iter(evaluation.plan.checkpoints.values()))
    lacking = lacking_limits(settings, evaluation.task)
    return [f'{entry}: {", ".join(names)}' for entry, names in lacking.items()]


def _far_from_training(evaluation: Evaluation, label: str) -> list[str]:
    """Which positions of the recorded commands are far from all that was trained on."""
    task, std = evaluation.task, evaluation.std(label)
    mean = task.to_robot(evaluation.statistics[label].action_mean)
    recorded = np.concatenate([result.recorded for result in evaluation.of(label)])
    said = np.isfinite(recorded).any(axis=0)
    median = np.full(task.action_dim, np.nan)
    median[said] = np.nanmedian(recorded[:, said], axis=0)
    return [
        f'{task.action[i]} was commanded to {median[i]:.4g} (median), but in training it was '
        f'{mean[i]:.4g} with a standard deviation of {std[i]:.2g}: other units (degrees for '
        f'radians), or joints in another order?'
        for i in np.flatnonzero(np.abs(median - mean) > FAR * std)
        if task.action[i].quantity == 'position'
    ]
