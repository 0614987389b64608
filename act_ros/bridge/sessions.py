"""Who asks, what is asked, and what each has of its own: an episode and the last answers.

A named session is begun by a reset and outlives its connections. Every connection has a session
of its own beside, for requests without a name: it begins by itself and ends with the connection,
unless the client gave the connection an identity (ZMTP), which then names it across several.
"""

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from act_ros.bridge.requests import Code
from act_ros.policy.rollout import Episode

ANSWERS = 8  # of a named session that are kept, for requests that come once more
IDLE = 5.0  # [s] without a request, after which a session may make room for another one

# A session's name, an identity, or a connection's number.
Key = str | bytes | int
# Kind and id: a request that comes once more has both.
Same = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    :ivar code: of the error, as in docs/zmq.md; '' where there is none.
    :ivar message: one line, of the error.
    :ivar step: that the action is of.
    :ivar action: of an act.
    :ivar chunk: where that was asked for.
    :ivar queue: how long it waited for its pass [s].
    :ivar inference: how long its pass took [s].
    :ivar fault: behind an error that is no mistake of the client's.
    """

    code: Code | Literal[''] = ''
    message: str = ''
    step: int | None = None
    action: np.ndarray | None = None
    chunk: np.ndarray | None = None
    queue: float = 0.0
    inference: float = 0.0
    fault: Exception | None = None


@dataclass(slots=True, eq=False)
class Call:
    """A request.

    :ivar peer: the connection that it came by.
    :ivar kind: 'act' is one step, 'chunk' asks for a prediction alone, 'reset' begins an episode.
    :ivar received: when all of it was here [s].
    :ivar observation: for the policy; nobody looks into it before its pass.
    :ivar session: its name; None is the connection's own.
    :ivar id: the same again, of the same kind, is the same request.
    :ivar step: None = the session's next one.
    :ivar expires: when it is of no use any more [s].
    :ivar context: for whoever sends the reply.
    """

    peer: int
    kind: Literal['act', 'chunk', 'reset']
    received: float
    observation: Any = None
    session: str | None = None
    id: int | None = None
    step: int | None = None
    expires: float = math.inf
    context: Any = None

    @property
    def same(self) -> Same | None:
        """What a request has in common with itself, sent again."""
        return None if self.id is None else (self.kind, self.id)


@dataclass(slots=True, eq=False)
class Session:
    """A client's episode and its requests.

    :ivar place: number among the sessions there are, which a later one has again.
    :ivar episode: None until the first action is asked for.
    :ivar waiting: requests in the order of their turns; those of a list are the same, sent again.
    :ivar in_hand: the one whose pass has begun, likewise; nobody's where empty.
    :ivar answers: to its last requests.
    :ivar active: when it was last heard of or answered [s].
    """

    key: Key
    place: int
    active: float
    episode: Episode | None = None
    waiting: deque[list[Call]] = field(default_factory=deque)
    in_hand: list[Call] = field(default_factory=list)
    answers: dict[Same, Outcome] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.in_hand)

    @property
    def named(self) -> bool:
        return isinstance(self.key, str)

    def remember(self, same: Same, outcome: Outcome) -> None:
        """Keep an answer, and forget the oldest one."""
        self.answers[same] = outcome
        if len(self.answers) > ANSWERS:
            del self.answers[next(iter(self.answers))]

    def under_way(self, same: Same) -> list[Call] | None:
        """That request, where it waits or is in hand."""
        for calls in (*self.waiting, self.in_hand):
            if calls and calls[0].same == same:
                return calls
        return None


class NoPlaceError(Exception):
    """All sessions are in use."""


class Sessions:
    """The sessions there are.

    :param most: at once.
    :param timeout: without a request, after which one ends [s].
    """

    def __init__(self, most: int, timeout: float) -> None:
        self._most, self._timeout = most, timeout
        self._sessions: OrderedDict[Key, Session] = OrderedDict()  # the latest active at the end

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        """Those that were not heard of for longest first."""
        return iter([*self._sessions.values()])

    def find(self, key: Key) -> Session | None:
        return self._sessions.get(key)

    def begin(self, key: Key, now: float) -> Session:
        """A session that is not there yet. One that is idle may have to end for it.

        :raises NoPlaceError: none is idle.
        """
        if len(self._sessions) >= self._most:
            oldest = next((s for s in self if not s.busy), None)
            if oldest is None or now - oldest.active < IDLE:
                raise NoPlaceError
            self.end(oldest.key)
        taken = {session.place for session in self}
        place = next(i for i in itertools.count() if i not in taken)
        session = self._sessions[key] = Session(key, place, now)
        return session

    def touch(self, session: Session, now: float) -> None:
        """Note that a session is in use."""
        session.active = now
        if self._sessions.get(session.key) is session:
            self._sessions.move_to_end(session.key)

    def end(self, key: Key) -> None:
        """Forget a session, where there is one."""
        self._sessions.pop(key, None)

    def end_idle(self, now: float) -> None:
        """End those that nobody has used for too long."""
        for session in self:
            if now - session.active < self._timeout:
                break
            if not session.busy:
                self.end(session.key)

    def next_end(self) -> float:
        """When the next one may have to end [s]."""
        oldest = next((s.active for s in self if not s.busy), math.inf)
        return oldest + self._timeout
