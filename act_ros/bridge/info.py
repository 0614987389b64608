"""What a server says of its policy and of itself: plain maps, as docs/zmq.md has them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from act_ros.parameters import Settings
from act_ros.policy.interface import About, Predictor, Statistics

PROTOCOL = 1  # counts up where a client of before would misunderstand
PERCENTILES = {'p50': 50, 'p90': 90, 'p99': 99, 'max': 100}


def info(policy: Predictor, settings: Settings) -> dict[str, Any]:
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
            'cameras': {name: list(task.image_size) for name in task.cameras},
            'state': list(map(str, task.state)),
            'action': list(map(str, task.action)),
        },
        'state_dim': task.state_dim,
        'action_dim': task.action_dim,
        'chunk_size': policy.chunk_size,
        'rate': task.rate,
        'aggregation': {
            name: getattr(settings, name)
            for name in ('temporal_aggregation', 'query_every', 'decay')
        },
    }
    about: About | None = getattr(policy, 'about', None)
    if about is not None:
        found['checkpoint'] = {'name': about.checkpoint, 'sha256': about.sha256}
        found |= {name: getattr(about, name) for name in ('engine', 'precision', 'device')}
        found['deviation'] = about.deviation
    statistics: Statistics | None = getattr(policy, 'statistics', None)
    if statistics is not None:
        found['statistics'] = {name: vars(statistics)[name] for name in vars(statistics)}
    return found


@dataclass(frozen=True)
class Health:
    """How a server is doing.

    :ivar state: 'loading', 'ready' or 'stopping'.
    :ivar uptime: [s].
    :ivar sessions: episodes that there are.
    :ivar waiting: requests that wait for their pass.
    :ivar connections: open now.
    :ivar memory: bytes that unfinished and waiting messages and unread replies take.
    :ivar accepted: connections since the start.
    :ivar closed: of these, by reason.
    :ivar requests: answered since the start, by the error's code; 'ok' for the others.
    :ivar batches: passes since the start, by the number of their requests.
    :ivar queue_ms, inference_ms: percentiles of the latest requests.
    """

    state: str
    uptime: float
    sessions: int
    waiting: int
    connections: int
    memory: int
    accepted: int
    closed: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[int, int] = field(default_factory=dict)
    queue_ms: Mapping[str, float] = field(default_factory=dict)
    inference_ms: Mapping[str, float] = field(default_factory=dict)

    def as_map(self) -> dict[str, Any]:
        """For a reply; whose maps have keys of text."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found['batches'] = {str(size): count for size, count in self.batches.items()}
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in found.items()
        }


def percentiles(seconds: Collection[float]) -> dict[str, float]:
    """Of some times [ms]; of none, nothing."""
    if not seconds:
        return {}
    values = np.percentile(list(seconds), list(PERCENTILES.values())) * 1e3
    return dict(zip(PERCENTILES, map(float, values), strict=True))


def _version() -> str:
    try:
        return metadata.version('act_ros')
    except metadata.PackageNotFoundError:  # run from its folder
        return ''
