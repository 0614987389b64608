"""Whose turn it is: requests in, passes out, and an answer to every request.

Nothing here waits or looks at a clock; the time is an argument. Nothing that one session asks
changes what another one gets.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from act_ros.bridge.sessions import Call, Key, NoPlaceError, Outcome, Session, Sessions
from act_ros.errors import shorten
from act_ros.policy.rollout import Episode

REPLACED = Outcome('replaced', 'a newer request of the session came before its turn')
STOPPING = Outcome('stopping', 'stopping')


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A request whose pass begins.

    :ivar episode: that it is a step of, also where the session has begun another one meanwhile.
    :ivar step: that it is of.
    :ivar begun: when [s].
    """

    session: Session
    episode: Episode
    calls: list[Call]
    step: int
    begun: float

    @property
    def call(self) -> Call:
        """The request; where it was sent again, the one that came first."""
        return self.calls[0]

    @property
    def wants_chunk(self) -> bool:
        """Whether the policy has to be asked, or the plan there is has its action."""
        return self.call.kind == 'chunk' or self.episode.wants_chunk(self.step)

    @property
    def place(self) -> int:
        """Whose cameras these are, as a small number."""
        return self.session.place


class Scheduler:
    """Gives turns to sessions, and answers what needs no turn.

    :param make_episode: an episode at its beginning.
    :param max_sessions: at once.
    :param session_timeout: without a request, after which a session ends [s].
    :param max_batch: requests in a pass; may be changed.
    """

    def __init__(
        self,
        make_episode: Callable[[], Episode],
        *,
        max_sessions: int = 64,
        session_timeout: float = 600.0,
        max_batch: int = 8,
    ) -> None:
        self._make_episode = make_episode
        self.max_batch = max_batch
        self.sessions = Sessions(max_sessions, session_timeout)
        self._timeout = session_timeout
        self._most = max_sessions
        self._keys: dict[int, Key] = {}  # of the sessions that connections have of their own
        # Sessions whose next request may begin, in the order of their turns.
        self._ready: OrderedDict[Session, None] = OrderedDict()
        self._answers: list[tuple[Call, Outcome]] = []

    @property
    def waiting(self) -> int:
        """How many requests wait for a pass."""
        return sum(len(session.waiting) for session in self.sessions)

    def answers(self) -> list[tuple[Call, Outcome]]:
        """What has become of requests since the last call. Of clients that are gone: nothing."""
        answers, self._answers = self._answers, []
        return answers

    def opened(self, peer: int, identity: bytes) -> None:
        """A client is there."""
        self._keys[peer] = identity or peer

    def closed(self, peer: int) -> None:
        """A client is gone: what it waits for is dropped unrun."""
        for session in self.sessions:
            self._drop(session, lambda call: call.peer == peer)
        if self._keys.pop(peer, None) == peer:
            self.sessions.end(peer)

    def add(self, call: Call, now: float) -> None:
        """Take a request. Of a client that is gone it is dropped."""
        if call.peer not in self._keys:
            return
        self.sessions.end_idle(now)
        session = self._session_of(call, now)
        if session is None:
            return
        self.sessions.touch(session, now)
        if not session.named:
            session.waiting.append([call])
        elif not self._is_known(session, call):
            self._replace(session, call)
        self._advance(session)

    def take(self, now: float) -> list[Turn]:
        """What goes through in the next pass, a request of each session at most.

        Each of them has to be given back to `finish`.
        """
        self.expire(now)
        turns: list[Turn] = []
        while self._ready and len(turns) < self.max_batch:
            session, _ = self._ready.popitem(last=False)
            turn = self._begin(session, now)
            if turn is None:  # it was late, and nothing more than that
                self._advance(session)
            else:
                turns.append(turn)
        return turns

    def finish(self, turn: Turn, outcome: Outcome, now: float) -> None:
        """Answer a request whose pass is over."""
        session, calls = turn.session, turn.calls
        session.in_hand = []
        outcome = replace(outcome, queue=turn.begun - turn.call.received)
        self._answer(session, calls, outcome)
        self.sessions.touch(session, now)
        self._advance(session)

    def expire(self, now: float) -> None:
        """Drop what is of no use any more, and end sessions that are not used."""
        for session in self.sessions:
            for call in self._drop(session, lambda call: call.expires <= now):
                text = f'its deadline passed {now - call.expires:.3f} s before its turn'
                self._answers.append((call, Outcome('expired', text)))
        self.sessions.end_idle(now)

    def next_time(self) -> float:
        """When `expire` has something to do; infinite where never [s]."""
        calls = (call for s in self.sessions for each in s.waiting for call in each)
        return min(self.sessions.next_end(), min((c.expires for c in calls), default=math.inf))

    def stop(self, turns: Sequence[Turn] = ()) -> None:
        """Tell all who wait that they do so in vain, and those of passes that will not end."""
        for session in self.sessions:
            for call in self._drop(session, lambda _: True):
                self._answers.append((call, STOPPING))
        for turn in turns:
            self._answers += [(call, STOPPING) for call in turn.calls]

    # --- requests

    def _session_of(self, call: Call, now: float) -> Session | None:
        """The session that a request belongs to; None where it was answered instead."""
        key = self._keys[call.peer] if call.session is None else call.session
        session = self.sessions.find(key)
        if session is not None:
            return session
        if call.session is not None and call.kind != 'reset':
            text = (
                f'there is no session {shorten(key)}: no reset has begun it since the server '
                f'started, or nobody used it for {self._timeout:g} s; send a reset'
            )
            self._answers.append((call, Outcome('no_session', text)))
            return None
        try:
            return self.sessions.begin(key, now)
        except NoPlaceError:
            text = f'all {self._most} sessions are in use; try again later'
            self._answers.append((call, Outcome('busy', text)))
            return None

    def _is_known(self, session: Session, call: Call) -> bool:
        """Whether a request came before: then it gets the answer of that one."""
        same = call.same
        if same is None:
            return False
        if same in session.answers:
            self._answers.append((call, session.answers[same]))
            return True
        calls = session.under_way(same)
        if calls is not None:
            calls.append(call)
        return calls is not None

    def _replace(self, session: Session, call: Call) -> None:
        """Let the newest request of a session wait, or begin an episode at once."""
        if call.kind == 'reset':
            # What is in hand goes on as a step of the episode before.
            session.episode = self._make_episode()
        newest = [call]
        for calls in session.waiting:
            before, after = calls[0].step, newest[0].step
            overtaken = before is not None and after is not None and before > after
            if overtaken and call.kind != 'reset':  # by another way than the newer one
                calls, newest = newest, calls
            self._answers += [(each, REPLACED) for each in calls]
        session.waiting.clear()
        session.waiting.append(newest)

    def _advance(self, session: Session) -> None:
        """See what a session is ready for; a reset needs no pass."""
        waiting = session.waiting
        while waiting and waiting[0][0].kind == 'reset' and (session.named or not session.in_hand):
            if not session.named:
                session.episode = None
            self._answer(session, waiting.popleft(), Outcome(step=0))
        if waiting and not session.in_hand:
            self._ready.setdefault(session)
        else:
            self._ready.pop(session, None)

    def _begin(self, session: Session, now: float) -> Turn | None:
        calls = session.waiting.popleft()
        if session.episode is None:
            session.episode = self._make_episode()
        step, following = calls[0].step, session.episode.step
        if calls[0].kind == 'act' and step is not None and step < following:
            text = f'step {step} is over: step {following} is the next one of the session'
            self._answer(session, calls, Outcome('old_step', text))
            return None
        session.in_hand = calls
        return Turn(session, session.episode, calls, following if step is None else step, now)

    def _answer(self, session: Session, calls: list[Call], outcome: Outcome) -> None:
        """Answer a request. What was done is not done again; a failure may be tried again."""
        self._answers += [(call, outcome) for call in calls]
        same = calls[0].same
        if session.named and same is not None and not outcome.code:
            session.remember(same, outcome)

    def _drop(self, session: Session, which: Callable[[Call], Any]) -> list[Call]:
        """Take requests out of those that wait; what was sent again waits on without them."""
        dropped = [call for calls in session.waiting for call in calls if which(call)]
        if dropped:
            for calls in session.waiting:
                calls[:] = [call for call in calls if call not in dropped]
            session.waiting = type(session.waiting)(filter(None, session.waiting))
            self._advance(session)
        return dropped
