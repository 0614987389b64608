"""The predicted commands as a bag, beside the recording in any viewer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from act_ros.bags.typestore import BagMessages
from act_ros.bags.writing import BagWriter
from act_ros.commands import Encoder
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.files import whole
from act_ros.interfaces import parse_output

ROOT = '/predicted'


def write_predictions(evaluation: Evaluation, path: Path) -> None:
    """Write the predicted actions, before any limit, as the messages of the outputs.

    Topics are those of the outputs under /predicted, and with several checkpoints under
    /predicted/LABEL; stamps are those of the ticks.
    """
    with whole(path) as part:
        with BagWriter(part.with_suffix('')) as writer:
            _write(evaluation, writer)
        writer.file.replace(part)


def _write(evaluation: Evaluation, writer: BagWriter) -> None:
    labels, library = evaluation.labels(), BagMessages()
    rows = []
    for number, label in enumerate(labels):
        root = ROOT if len(labels) == 1 else f'{ROOT}/{_name(labels, number)}'
        settings = evaluation.plan.checkpoints[label]
        encoders: dict[str, Encoder] = {}
        for text in settings.outputs:
            spec = parse_output(text, evaluation.task)
            topic = f'{root}/{spec.topic.removeprefix("~").lstrip("/")}'
            writer.add_topic(topic, spec.message_type)
            encoders[topic] = spec.output_type.encoder(spec, evaluation.task.rate, library)
        for result in evaluation.of(label):
            ticks = result.ticks
            known = np.isfinite(ticks['predicted']).all(axis=1) & ticks['complete']
            for i in np.flatnonzero(known):
                rows.append((int(ticks['time'][i]), encoders, ticks['predicted'][i]))
    rows.sort(key=lambda row: row[0])
    for time, encoders, action in rows:
        stamp = library.stamp(time)
        for topic, encoder in encoders.items():
            writer.write(topic, time, encoder.encode(action, stamp))


def _name(labels: Sequence[str], number: int) -> str:
    """A label as a part of a topic, unlike those of the others."""

    def part(label: str) -> str:
        name = ''.join(c if c.isascii() and c.isalnum() else '_' for c in label)
        return name if name[:1].isalpha() else f'ckpt_{name}'

    names = [part(label) for label in labels]
    name = names[number]
    return f'{name}_{number}' if names.count(name) > 1 else name
