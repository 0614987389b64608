"""What a server says of its policy and of itself: plain maps, as docs/zmq.md has them."""

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from act_ros.bridge.events import Counts
from act_ros.parameters import Settings
from act_ros.policy import as_played
from act_ros.policy.interface import About, Predictor, Statistics

PROTOCOL = 1  # counts up where a client of before would misunderstand
STATES = ('loading', 'ready', 'stopping')
PERCENTILES = {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}


def describe(policy: Predictor, settings: Settings) -> dict[str, Any]:
    """What a policy is, and what becomes of its chunks where actions are asked for.

    :param policy: of its `statistics` and `about` is told where it has them.
    :param settings: of the episodes.
    """
    task = policy.task
    found: dict[str, Any] = {
        'protocol': PROTOCOL,
        'version': _version(),
        'task': {
            'name': task.name,
            'cameras': {name: list(size) for name, size in task.image_sizes.items()},
            'state': [entry.text for entry in task.state],
            'action': [entry.text for entry in task.action],
        },
        'state_dim': task.state_dim,
        'action_dim': task.action_dim,
        'chunk_size': policy.chunk_size,
        'rate': task.rate,
        'aggregation': vars(as_played(settings, policy).blending),
    }
    about: About | None = getattr(policy, 'about', None)
    if about is not None:
        found['checkpoint'] = {'name': about.checkpoint, 'sha256': about.sha256}
        found |= {name: getattr(about, name) for name in ('engine', 'precision', 'device')}
        found |= {'deviation': about.deviation, 'own_settings': dict(about.own_settings)}
    statistics: Statistics | None = getattr(policy, 'statistics', None)
    if statistics is not None:
        found['statistics'] = {name: vars(statistics)[name] for name in vars(statistics)}
    return found


class Times:
    """How long something took, each time [s].

    :ivar latest: for percentiles.
    :ivar counts: since the start, of those up to each of `BOUNDS` and above the one before; the
        last one is of all above.
    :ivar total: since the start.
    """

    BOUNDS = (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    LATEST = 1000

    def __init__(self) -> None:
        self.latest: deque[float] = deque(maxlen=self.LATEST)
        self.counts = [0] * (len(self.BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.latest.append(seconds)
        self.counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> 'Times':
        """As they are now. For any thread."""
        copy = Times()
        copy.latest, copy.counts, copy.total = self.latest.copy(), self.counts.copy(), self.total
        return copy

    def percentiles_ms(self) -> dict[str, float]:
        """Of the latest; of none, nothing."""
        if not self.latest:
            return {}
        values = np.percentile(self.latest, list(PERCENTILES.values())) * 1e3
        return dict(zip(PERCENTILES, map(float, values), strict=True))


@dataclass
class Figures:
    """What a server has done since its start.

    :ivar started: when that was [s, `time.monotonic`].
    :ivar requests: answered, by the error's code; 'ok' for the others.
    :ivar batches: passes, by the number of their requests.
    :ivar queue: how long requests waited for their pass.
    :ivar inference: how long a pass took, for each request that it was for.
    :ivar error: the latest that is not in the nature of things: when, its code, and one line.
    """

    started: float = field(default_factory=time.monotonic)
    requests: Counter[str] = field(default_factory=Counter)
    batches: Counter[int] = field(default_factory=Counter)
    queue: Times = field(default_factory=Times)
    inference: Times = field(default_factory=Times)
    error: tuple[float, str, str] | None = None

    @property
    def errors(self) -> int:
        """How many requests were answered with one."""
        return self.requests.total() - self.requests['ok']


@dataclass(frozen=True)
class Health:
    """How a server is doing: a copy, of one moment.

    :ivar state: one of `STATES`.
    :ivar uptime: [s].
    :ivar sessions: episodes that there are.
    :ivar waiting: requests that wait for their pass.
    :ivar connections: open now.
    :ivar memory: bytes that unfinished and waiting messages and unread replies take.
    :ivar accepted: connections since the start.
    :ivar closed: of these, by reason.
    :ivar requests, batches, queue, inference: as in `Figures`.
    :ivar error: its age [s], code and text.
    """

    state: str
    uptime: float
    sessions: int
    waiting: int
    connections: int
    memory: int
    accepted: int
    closed: Mapping[str, int]
    requests: Mapping[str, int]
    batches: Mapping[int, int]
    queue: Times
    inference: Times
    error: tuple[float, str, str] | None

    @classmethod
    def of(
        cls, state: str, figures: Figures, counts: Counts, *, sessions: int, waiting: int,
        now: float,
    ) -> 'Health':  # fmt: skip
        """Copy what there is. For any thread.

        :param counts: of the connections.
        :param now: [s, `time.monotonic`].
        """
        error = figures.error
        return cls(
            state,
            uptime=now - figures.started,
            sessions=sessions,
            waiting=waiting,
            connections=counts.connections,
            memory=counts.held,
            accepted=counts.accepted,
            closed=dict(counts.closed),
            requests=dict(figures.requests),
            batches=dict(figures.batches),
            queue=figures.queue.copy(),
            inference=figures.inference.copy(),
            error=error and (now - error[0], *error[1:]),
        )

    def as_map(self) -> dict[str, Any]:
        """For a reply; whose maps have keys of text."""
        error = None
        if self.error is not None:
            age, code, text = self.error
            text = text.encode(errors='replace').decode()  # not all that is said is Unicode
            error = {'age': age, 'error': code, 'message': text}
        return {
            'state': self.state,
            'uptime': self.uptime,
            'sessions': self.sessions,
            'waiting': self.waiting,
            'connections': self.connections,
            'memory': self.memory,
            'accepted': self.accepted,
            'closed': dict(self.closed),
            'requests': dict(self.requests),
            'batches': {str(size): count for size, count in self.batches.items()},
            'queue_ms': self.queue.percentiles_ms(),
            'inference_ms': self.inference.percentiles_ms(),
            'latest_error': error,
        }


def _version() -> str:
    try:
        return metadata.version('act_ros')
    except metadata.PackageNotFoundError:  # run from its folder
        return ''
