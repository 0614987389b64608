"""A policy at the end of a line: on a server, used as if it were here. It needs no torch."""

import contextlib
import logging
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from act_ros.bridge.channel import PolicyTimeoutError, ServerError
from act_ros.bridge.client import PolicyClient
from act_ros.bridge.protocol import ProtocolError
from act_ros.errors import (
    LinkError,
    ObservationError,
    ParameterError,
    PolicyError,
    TaskError,
    one_line,
)
from act_ros.parameters import Blending, Settings
from act_ros.policy.interface import (
    About,
    Observation,
    Statistics,
    check_cameras,
    check_chunk,
    check_observation,
)
from act_ros.task import Entry, Task

log = logging.getLogger(__name__)

MOST = 100_000  # steps in a chunk
PROBES = 3  # of a server, where the line loses some
KINDS = {'bad_observation': ObservationError}  # of errors, by their code
# What a server says that has no answer now, and may have one later.
TRANSIENT = ('loading', 'stopping', 'busy')


class RemotePolicy:
    """As `Policy`, with the server's network. Calls come from one thread at a time.

    Of a server that knows the documented protocol alone each chunk is the action of a step,
    repeated: `held`. What it blends is its own matter.

    :param client: has asked what the server is.
    :param about: of the policy.
    :param statistics: None where they are not known.
    :param held: the server gives actions and no chunks.
    :param live: an answer that takes much longer than usual is given up, since whoever asks has
        a newer observation by then; else the question is sent again.
    """

    engine_name = 'remote'

    def __init__(
        self,
        client: PolicyClient,
        task: Task,
        chunk_size: int,
        about: About,
        statistics: Statistics | None,
        *,
        held: bool,
        live: bool,
    ) -> None:
        self.task, self.chunk_size, self.about = task, chunk_size, about
        self.state_dim, self.action_dim = task.state_dim, task.action_dim
        self.statistics, self.held = statistics, held
        self._client, self._live = client, live
        self._epoch = client.epoch

    def predict(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """As `Policy.predict`.

        :raises LinkError: no answer has come in time, or the server has another policy now.
        :raises PolicyError: the server has none.
        """
        check_observation(self.task, qpos, images)
        with _told(self._client.endpoint):
            chunk = self._ask(qpos, images)
        expected = self.chunk_size, self.action_dim
        if chunk.shape != expected:
            raise PolicyError(
                f'{self._client.endpoint}: its array has shape {chunk.shape}, expected {expected}'
            )
        chunk = chunk.astype(np.float32)
        check_chunk(self.task, chunk, qpos, self.statistics)
        return chunk

    def predict_batch(self, observations: Sequence[Observation]) -> np.ndarray:
        """As `Policy.predict_batch`, one after the other."""
        chunks = [self.predict(*observation) for observation in observations]
        return np.array(chunks, np.float32).reshape(-1, self.chunk_size, self.action_dim)

    def forward(
        self, observations: Sequence[Observation], sources: Sequence[Hashable] | None = None
    ) -> np.ndarray:
        """As `predict_batch`; the server looks at what it is given anyway."""
        return self.predict_batch(observations)

    def reset(self) -> None:
        """Begin a new episode, at a server that keeps it.

        :raises PolicyError: as `predict`.
        """
        if self.held:
            with _told(self._client.endpoint):
                self._client.reset()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, qpos: np.ndarray, images: Mapping[str, np.ndarray]) -> np.ndarray:
        if self.held:
            action = self._client.act(qpos, images)
            return np.tile(action, (self.chunk_size, 1))
        chunk = self._client.chunk(qpos, images, once=self._live)
        if self._client.epoch != self._epoch:  # the server was started anew
            self._check_that_it_is_the_same()
        return chunk

    def _check_that_it_is_the_same(self) -> None:
        now = _about(self._client.info(), self._client.endpoint)
        if now.sha256 != self.about.sha256:
            raise LinkError(
                f'the server has another checkpoint since it was started anew: {now.checkpoint} '
                f'{now.sha256[:12]}, before {self.about.checkpoint} {self.about.sha256[:12]}; '
                f'clean up and configure again'
            )
        self._epoch = self._client.epoch


def load_remote(
    endpoint: str,
    *,
    task: Task | None = None,
    jpeg_quality: int = 0,
    curve_dir: str = '',
    timeout: float = 5.0,
    hold: float = 0.0,
    live: bool = False,
) -> RemotePolicy:
    """Find out what policy a server has, and whether it is one for this robot.

    :param endpoint: of the server.
    :param task: the robot's; None = as the server says.
    :param jpeg_quality: as `PolicyClient` has it; and `curve_dir`, and `timeout`.
    :param hold: how long an action may last of a server that gives no chunks [s]; 0 = such a
        server is refused.
    :param live: as `RemotePolicy` has it.
    :raises ActError: there is no server, it has no policy for this robot, or is still loading it
        after the time-out.
    """
    client = PolicyClient(
        endpoint, timeout=timeout, curve_dir=curve_dir, jpeg_quality=jpeg_quality
    )
    try:
        with _told(endpoint):
            return _made(client, task, timeout, hold, live)
    except BaseException:
        client.close()
        raise


def _made(
    client: PolicyClient, task: Task | None, timeout: float, hold: float, live: bool
) -> RemotePolicy:
    try:
        _probe(client, timeout)
    except ServerError as error:
        if error.code:
            raise
        if not hold or task is None:
            raise ParameterError(
                'the server knows the documented protocol alone, which gives no chunks: use '
                'python -m act_ros.inference_server'
            ) from None
        log.warning(
            '%s knows the documented protocol alone: its actions are used as they come, each '
            'until the next one, and nothing bridges an outage', client.endpoint,
        )  # fmt: skip
        steps = max(1, round(hold * task.rate))
        about = About('', '', 'remote', '', client.endpoint)
        return RemotePolicy(client, task, steps, about, None, held=True, live=live)
    info = client.info()
    if task is None:
        task = task_of(info)
    else:
        _check_robot(task, info, client.endpoint)
    chunk_size = info.get('chunk_size')
    if type(chunk_size) is not int or not 1 <= chunk_size <= MOST:
        raise ProtocolError(f'its chunk_size is {chunk_size!r}, expected 1 to {MOST}')
    return RemotePolicy(
        client, task, chunk_size, _about(info, client.endpoint), _statistics(info, task),
        held=False, live=live,
    )  # fmt: skip


def _probe(client: PolicyClient, timeout: float) -> None:
    """Ask what any server can read: a pickle, which one of the documented protocol refuses.

    :param timeout: how long it may still load its policy [s].
    """
    deadline, lost = time.monotonic() + timeout, 0
    while True:
        try:
            client.call({'request': 'info'})
            return
        except PolicyTimeoutError:
            lost += 1
            if lost == PROBES:
                raise PolicyTimeoutError(
                    f'no answer from {client.endpoint} within {PROBES} times {timeout:g} s; '
                    f'is the server running there?'
                ) from None
        except ServerError as error:
            if error.code != 'loading':
                raise
            if time.monotonic() > deadline:
                raise ServerError(
                    f'the server still loads its policy after {timeout:g} s; try again in a while',
                    error.code,
                ) from None
            time.sleep(0.1)


def task_of(info: Mapping[str, Any]) -> Task:
    """The robot that a server's policy is for.

    :param info: as docs/zmq.md has it.
    :raises ActError: it does not say.
    """
    there, rate = info.get('task'), info.get('rate')
    if not isinstance(there, dict) or not isinstance(rate, int | float) or not 0 < rate <= 1e6:
        raise ProtocolError('its info has no task with a rate')
    cameras, state, action = (there.get(what) for what in ('cameras', 'state', 'action'))
    if not (isinstance(cameras, dict) and isinstance(state, list) and isinstance(action, list)):
        raise ProtocolError('its task has no cameras, state and action')
    sizes = list(cameras.values())
    if not sizes or not all(map(_is_size, sizes)):
        raise ProtocolError(f'its cameras have sizes {cameras}, expected [height, width] of each')
    return Task(
        str(there.get('name', '')), tuple(cameras), tuple(map(Entry.parse, state)),
        tuple(map(Entry.parse, action)), rate, tuple(side for size in sizes for side in size),
    )  # fmt: skip


def _is_size(value: object) -> bool:
    return isinstance(value, list) and [type(side) for side in value] == [int, int]


def _check_robot(task: Task, info: Mapping[str, Any], endpoint: str) -> None:
    """Whether what the server says of its robot is true of this one.

    :raises ActError: it is not; a difference that may be one of names alone is logged.
    """
    there = task_of(info)
    check_cameras(task, there.cameras, there.image_size)
    for what in ('state', 'action'):
        here, others = ([entry.text for entry in getattr(each, what)] for each in (task, there))
        if len(others) != len(here):
            raise ParameterError(
                f'the policy has {len(others)} {what} entries, task {task.name!r} lists '
                f'{len(here)}'
            )
        differing = [pair for pair in zip(others, here, strict=True) if pair[0] != pair[1]]
        if differing:
            log.warning(
                '%s has other %s entries, in name, order or units: first %s, here %s',
                endpoint, what, *differing[0],
            )  # fmt: skip
    if there.rate != task.rate:
        log.warning(
            '%s has a policy of %g steps a second, control_rate here is %g Hz: its chunks are '
            'played at that', endpoint, there.rate, task.rate,
        )  # fmt: skip


def _about(info: Mapping[str, Any], endpoint: str) -> About:
    checkpoint = info.get('checkpoint')
    named = checkpoint if isinstance(checkpoint, dict) else {}
    deviation = info.get('deviation')
    return About(
        checkpoint=str(named.get('name', '')),
        sha256=str(named.get('sha256', '')),
        engine=f'remote {info.get("engine", "")}'.strip(),
        precision=str(info.get('precision', '')),
        device=f'{endpoint} {info.get("device", "")}'.strip(),
        deviation=deviation if isinstance(deviation, float) else None,
        own_settings=_own_settings(info),
    )


def _own_settings(info: Mapping[str, Any]) -> dict[str, Any]:
    """What its checkpoint was trained for, as far as it is of the parameters it can be.

    :raises ParameterError: a value is none that the parameter can have.
    """
    given = info.get('own_settings')
    if not isinstance(given, dict):
        return {}
    known = {name: given[name] for name in vars(Blending()) if name in given}
    checked = Settings(**known)
    return {name: getattr(checked, name) for name in known}


def _statistics(info: Mapping[str, Any], task: Task) -> Statistics | None:
    given = info.get('statistics')
    if not isinstance(given, dict):
        return None
    found = {}
    for name in ('qpos_mean', 'qpos_std', 'action_mean', 'action_std'):
        value = given.get(name)
        size = task.state_dim if name.startswith('qpos') else task.action_dim
        if not isinstance(value, np.ndarray) or value.shape != (size,):
            raise ProtocolError(f'its statistics have no {name} of {size} numbers')
        with np.errstate(over='ignore'):
            found[name] = value.astype(np.float32)
        # An action may never have changed in training; what is divided by is above 0.
        lowest = {'qpos_std': np.finfo(np.float32).tiny, 'action_std': 0.0}.get(name, -np.inf)
        if not (np.isfinite(found[name]) & (found[name] >= lowest)).all():
            raise ProtocolError(f'its {name} are not finite, or not above 0')
    return Statistics(**found)


@contextlib.contextmanager
def _told(endpoint: str) -> Iterator[None]:
    """What a server or the line does wrong is told as any other policy's failure."""
    try:
        yield
    except PolicyTimeoutError as error:
        raise LinkError(one_line(error)) from None
    except ProtocolError as error:
        raise PolicyError(f'{endpoint}: {one_line(error)}') from None
    except ServerError as error:
        kind = LinkError if error.code in TRANSIENT else KINDS.get(error.code, PolicyError)
        raise kind(f'{endpoint}: {one_line(error)}') from None
    except (ParameterError, TaskError) as error:
        raise type(error)(f'{endpoint}: {one_line(error)}') from None
