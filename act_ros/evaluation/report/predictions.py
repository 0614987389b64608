"""The predicted commands as a bag, beside the recording in any viewer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from act_ros.bags.typestore import typestore
from act_ros.bags.writing import BagWriter
from act_ros.evaluation.run.outcome import Evaluation
from act_ros.evaluation.run.recorded import FIELDS
from act_ros.files import whole
from act_ros.interfaces import OUTPUT_TYPES, OutputSpec, parse_output

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
    labels = evaluation.labels()
    rows = []
    for number, label in enumerate(labels):
        root = ROOT if len(labels) == 1 else f'{ROOT}/{_name(labels, number)}'
        settings = evaluation.plan.checkpoints[label]
        specs = [parse_output(text, evaluation.task) for text in settings.outputs]
        ends = [(spec, f'{root}/{spec.topic.removeprefix("~").lstrip("/")}') for spec in specs]
        for spec, topic in ends:
            writer.add_topic(topic, OUTPUT_TYPES[spec.kind])
        for result in evaluation.of(label):
            ticks = result.ticks
            known = np.isfinite(ticks['predicted']).all(axis=1) & ticks['complete']
            for i in np.flatnonzero(known):
                rows.append((int(ticks['time'][i]), ends, ticks['predicted'][i]))
    rows.sort(key=lambda row: row[0])
    for time, ends, action in rows:
        for spec, topic in ends:
            writer.write(topic, time, _message(spec, action, time, evaluation.task.rate))


def _name(labels: Sequence[str], number: int) -> str:
    """A label as a part of a topic, unlike those of the others."""

    def part(label: str) -> str:
        name = ''.join(c if c.isascii() and c.isalnum() else '_' for c in label)
        return name if name[:1].isalpha() else f'ckpt_{name}'

    names = [part(label) for label in labels]
    name = names[number]
    return f'{name}_{number}' if names.count(name) > 1 else name


def _message(spec: OutputSpec, action: np.ndarray, stamp: int, rate: float) -> Any:
    kinds = typestore().types
    time = kinds['builtin_interfaces/msg/Time'](*divmod(stamp, 1_000_000_000))
    header = kinds['std_msgs/msg/Header'](time, '')
    none = np.empty(0)
    if spec.kind == 'Float64MultiArray':
        label = ','.join(map(str, spec.entries))
        size = len(spec.columns)
        dimension = kinds['std_msgs/msg/MultiArrayDimension'](label, size, size)
        layout = kinds['std_msgs/msg/MultiArrayLayout']([dimension], 0)
        return kinds[OUTPUT_TYPES[spec.kind]](layout, action[spec.columns])
    values = {quantity: action[places] for quantity, places in spec.places.items()}
    if spec.kind == 'JointState':
        return kinds[OUTPUT_TYPES[spec.kind]](
            header, spec.joints, values.get('position', none), values.get('velocity', none), none
        )
    after = kinds['builtin_interfaces/msg/Duration'](*divmod(round(1e9 / rate), 1_000_000_000))
    fields = {FIELDS[quantity]: numbers for quantity, numbers in values.items()}
    point = kinds['trajectory_msgs/msg/JointTrajectoryPoint'](
        **{'positions': none, 'velocities': none, **fields}, accelerations=none, effort=none,
        time_from_start=after,
    )  # fmt: skip
    return kinds[OUTPUT_TYPES[spec.kind]](header, spec.joints, [point])
