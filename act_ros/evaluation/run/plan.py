"""What is evaluated: bags cut into episodes, and checkpoints."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from act_ros.bags.bag import Bag
from act_ros.bags.folder import files_of
from act_ros.bags.topics import Topics
from act_ros.errors import BagError, ObservationError
from act_ros.evaluation.run.episodes import Window, split
from act_ros.evaluation.run.policies import LOAD
from act_ros.evaluation.run.recorded import RecordedCommands
from act_ros.evaluation.run.recorded_faults import lines, unreadable
from act_ros.observation import check_image, decode_image
from act_ros.parameters import Settings
from act_ros.policy.checkpoint import CONFIG_NAME, STATS_NAME
from act_ros.task import Task

log = logging.getLogger(__name__)

FIRST = 10  # messages of a topic; where none of them can be taken, none can


@dataclass(frozen=True)
class Options:
    """How ticks are run.

    :ivar latencies: a chunk arrives that much later than it was asked for [s]; 0 = at once. The
        results are of the first; with several, all are compared.
    :ivar batch: most observations in one forward pass.
    :ivar stride: every so many ticks are looked at.
    :ivar offsets: between chunk and recording, see `HorizonSums`.
    """

    latencies: Sequence[float] = (0.0,)
    batch: int = 8
    stride: int = 1
    offsets: Sequence[int] = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Job:
    """One episode and checkpoint: what one worker does at a time.

    :ivar label: of the checkpoint.
    :ivar settings: the node's parameters, with the checkpoint's `ckpt_dir`.
    :ivar load: 'module:function' that loads the policy.
    :ivar namespace: that relative topics are under.
    """

    bag: Path
    window: Window
    label: str
    settings: Settings
    load: str
    options: Options = field(default_factory=Options)
    namespace: str = ''

    @property
    def name(self) -> str:
        """For people, and for the file of the result."""
        return f'{self.label}, {self.bag.name}, {self.window.name}'


@dataclass(frozen=True)
class Plan:
    """What is evaluated.

    :ivar bags: bag to its episodes.
    :ivar checkpoints: label to the node's parameters with that checkpoint's `ckpt_dir`.
    :ivar offset: between chunk and recording; None = the one that fits best.
    """

    bags: Mapping[Path, Sequence[Window]]
    checkpoints: Mapping[str, Settings]
    options: Options
    offset: int | None = None
    namespace: str = ''
    load: str = LOAD

    def jobs(self) -> dict[int, Job]:
        """By number, checkpoint by checkpoint: a worker then keeps the network it has."""
        jobs = [
            Job(bag, window, label, settings, self.load, self.options, self.namespace)
            for label, settings in self.checkpoints.items()
            for bag, windows in self.bags.items()
            for window in windows
        ]  # fmt: skip
        return dict(enumerate(jobs))

    def identity(self) -> dict[str, Any]:
        """What must be the same for a resumption to make sense, as JSON has it."""
        return json.loads(
            json.dumps(
                {
                    'episodes': [
                        [str(job.bag), job.window.name, job.window.start,
                         job.window.stop, job.window.exact, job.label]
                        for job in self.jobs().values()
                    ],
                    'settings': {k: v.parameters() for k, v in self.checkpoints.items()},
                    'files': {
                        str(path): [path.stat().st_size, path.stat().st_mtime_ns]
                        for path in self._files()
                    },
                    'latencies': list(self.options.latencies),
                    'offsets': list(self.options.offsets),
                    'stride': self.options.stride,
                    'namespace': self.namespace,
                }
            )
        )  # fmt: skip

    def _files(self) -> list[Path]:
        """Everything that is read: with another content it is another evaluation."""
        files = [file for bag in self.bags for file in files_of(bag)]
        for settings in self.checkpoints.values():
            names = (settings.ckpt_name, STATS_NAME, CONFIG_NAME)
            files += [Path(settings.ckpt_dir) / name for name in names]
        return [path for path in files if path.exists()]


def make_plan(
    bags: Sequence[Path],
    checkpoints: Mapping[str, Settings],
    *,
    episodes: str = 'whole',
    start: float | None = None,
    duration: float | None = None,
    **rest: Any,
) -> Plan:
    """Look at the bags and plan the episodes.

    :param episodes: how a bag is split, see `split`.
    :param rest: as `Plan` has it.
    :raises ActError: a bag does not fit the parameters; nothing has been written.
    """
    # As every process finds them, wherever it runs.
    checkpoints = {
        label: replace(settings, ckpt_dir=str(Path(settings.ckpt_dir).resolve()))
        for label, settings in checkpoints.items()
    }
    settings = next(iter(checkpoints.values()))
    task = Task.from_settings(settings)
    windows = {}
    for path in (Path(path).resolve() for path in bags):
        with Bag(path) as bag:
            topics = Topics(settings, task, bag, rest.get('namespace', ''))
            _check_frames(bag, topics, task)
            _warn_of_commands(bag, topics, settings, task)
            windows[path] = split(bag, episodes, topics.inputs, start=start, duration=duration)
    return Plan(windows, checkpoints, **rest)


def _warn_of_commands(bag: Bag, topics: Topics, settings: Settings, task: Task) -> None:
    """Say at once, not after an hour, that nothing will be scored."""
    commands = RecordedCommands.from_settings(settings, topics.outputs, task)
    for topic in topics.outputs:
        for _, receipt, message in islice(bag.messages([topic]), FIRST):
            commands.put(topic, message, receipt)
    if unreadable(commands.about()):
        for line in lines(commands.about()):
            log.warning('%s: nothing is scored if all are as the first: %s', bag.path, line)


def _check_frames(bag: Bag, topics: Topics, task: Task) -> None:
    """Refuse a bag of whose frames the policy can take none: no action would come of it."""
    waiting = {t for t, names in topics.inputs.items() if set(names) & set(task.cameras)}
    refused = dict.fromkeys(waiting, 0)
    faults: dict[str, BagError] = {}
    for topic, _, message in bag.messages(list(waiting)):
        if topic not in waiting:
            continue
        try:
            refused[topic] += 1
            check_image(message, task.image_size)
            refused[topic] = 0  # of the right kind; some may be damaged
            decode_image(message)
        except ObservationError as error:
            faults[topic] = BagError(f'{bag.path}: {topic}: {error}')
            if refused[topic] == FIRST:
                raise faults[topic] from None
        else:
            waiting.discard(topic)
            if not waiting:
                return
    for topic in sorted(waiting & faults.keys()):
        raise faults[topic]
