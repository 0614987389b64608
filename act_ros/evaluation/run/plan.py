"""What is evaluated: bags cut into episodes, and checkpoints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from act_ros.bags.bag import Bag
from act_ros.bags.folder import bags_of, files_of
from act_ros.bags.topics import Topics
from act_ros.files import states
from act_ros.parameters import Settings
from act_ros.policy.checkpoint import checkpoint_files
from act_ros.policy.kept import digest_of
from act_ros.policy.process import LOAD
from act_ros.recording.checks import check_frames, warn_of_commands
from act_ros.recording.episodes import Window, split
from act_ros.task import Task


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
    :ivar served: label to the digest of the checkpoint, of those that are on a server.
    """

    bags: Mapping[Path, Sequence[Window]]
    checkpoints: Mapping[str, Settings]
    options: Options
    offset: int | None = None
    namespace: str = ''
    load: str = LOAD
    served: Mapping[str, str] = field(default_factory=dict)

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
                    'files': {**states(self._files()), **self.served},
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
        for label, settings in self.checkpoints.items():
            if label in self.served:
                continue
            files += checkpoint_files(settings.ckpt_dir, settings.ckpt_name)
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

    :param bags: or folders of them.
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
    for path in bags_of(bags):
        with Bag(path) as bag:
            topics = Topics(settings, task, bag, rest.get('namespace', ''))
            check_frames(bag, topics, settings, task)
            warn_of_commands(bag, topics, settings, task)
            windows[path] = split(bag, episodes, topics.inputs, start=start, duration=duration)
    served = {
        label: digest_of(settings) for label, settings in checkpoints.items()
        if settings.policy_endpoint
    }  # fmt: skip
    return Plan(windows, checkpoints, served=served, **rest)
