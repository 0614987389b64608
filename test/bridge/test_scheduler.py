"""Sessions and turns, by hand and whatever comes; without sockets, threads or a clock."""

import itertools

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from act_ros.bridge.scheduler import Scheduler
from act_ros.bridge.sessions import ANSWERS, IDLE, Call, Outcome
from act_ros.policy import TemporalAggregator
from act_ros.policy.rollout import Episode

CHUNK = 4


def make_episode(every=1):
    return Episode(TemporalAggregator(CHUNK, 1), every)


def predict(observation):
    return np.array([[observation * 10.0 + i] for i in range(CHUNK)])


def carry_out(turn):
    """What the policy's thread does."""
    chunk = predict(turn.call.observation) if turn.wants_chunk else None
    if turn.call.kind == 'chunk':
        return Outcome(step=turn.step, chunk=chunk)
    return Outcome(step=turn.step, action=turn.episode.act(turn.step, chunk), inference=0.5)


class Bench:
    """A scheduler with a clock in hand, whose passes end when the test says so."""

    def __init__(self, **options):
        self.scheduler = Scheduler(make_episode, **options)
        self.now = 100.0
        self.peers = itertools.count(1)
        self.in_hand = []

    def connect(self, identity=b''):
        peer = next(self.peers)
        self.scheduler.opened(peer, identity)
        return peer

    def send(self, peer, kind='act', observation=1, **about):
        call = Call(peer, kind, self.now, observation, **about)
        self.scheduler.add(call, self.now)
        return call

    def take(self):
        turns = self.scheduler.take(self.now)
        self.in_hand += turns
        return [turn.call for turn in turns]

    def finish(self):
        for turn in self.in_hand:
            self.scheduler.finish(turn, carry_out(turn), self.now)
        self.in_hand.clear()

    def answers(self):
        """Answers since the last call, by their request."""
        answers = self.scheduler.answers()
        assert len({call for call, _ in answers}) == len(answers), 'one answer each'
        return dict(answers)

    def codes(self):
        return [outcome.code for outcome in self.answers().values()]

    def run(self):
        """Passes until nobody waits; what has been answered."""
        self.finish()
        while self.take():
            self.finish()
        return self.answers()

    def act(self, peer, observation=1, **about):
        """One request alone: its action, or the error's code."""
        call = self.send(peer, 'act', observation, **about)
        outcome = self.run()[call]
        return outcome.code or outcome.action.item()

    def begin(self, name, peer=None):
        """A named session."""
        peer = peer or self.connect()
        call = self.send(peer, 'reset', session=name)
        assert self.answers() == {call: Outcome(step=0)}
        return peer


def alone(*observations, steps=None):
    """What one client gets that has the policy for itself."""
    episode = make_episode()
    steps = steps or range(len(observations))
    return [episode.act(step, predict(observation)).item()
            for step, observation in zip(steps, observations, strict=True)]  # fmt: skip


@pytest.fixture
def bench():
    return Bench()


# --- an episode each


def test_connections_that_take_turns_have_an_episode_each(bench):
    one, two = bench.connect(), bench.connect()
    got = [[bench.act(one, i), bench.act(two, 100 - i)] for i in range(6)]
    assert [a for a, _ in got] == alone(*range(6))
    assert [a for _, a in got] == alone(*range(100, 94, -1))


def test_the_reset_of_one_is_not_that_of_another(bench):
    one, two = bench.connect(), bench.connect()
    for i in range(3):
        bench.act(one, i)
        bench.act(two, i)
    bench.send(one, 'reset')
    assert bench.codes() == ['']
    assert bench.act(one, 7) == alone(7)[0]
    assert bench.act(two, 7) == alone(0, 1, 2, 7)[3]


def test_a_connection_ends_with_its_episode_and_an_identity_keeps_it(bench):
    plain, known = bench.connect(), bench.connect(b'robot')
    for peer in (plain, known):
        bench.act(peer, 1)
        bench.scheduler.closed(peer)
    assert len(bench.scheduler.sessions) == 1
    assert bench.act(bench.connect(), 2) == alone(2)[0]
    assert bench.act(bench.connect(b'robot'), 2) == alone(1, 2)[1]


def test_a_named_session_outlives_its_connection(bench):
    first = bench.begin('robot')
    bench.act(first, 1, session='robot')
    bench.scheduler.closed(first)
    assert bench.act(bench.connect(), 2, session='robot') == alone(1, 2)[1]


def test_a_session_that_no_reset_has_begun_is_refused(bench):
    call = bench.send(bench.connect(), session='robot')
    outcome = bench.answers()[call]
    assert outcome.code == 'no_session'
    assert outcome.message.startswith("there is no session 'robot': no reset has begun it")


def test_requests_of_a_connection_are_steps_in_their_order(bench):
    peer = bench.connect()
    calls = [bench.send(peer, 'act', i) for i in (1, 2)]
    calls.append(bench.send(peer, 'reset'))
    calls += [bench.send(peer, 'act', i) for i in (3, 4)]
    results = bench.run()
    assert list(results) == calls
    actions = [results[call].action.item() for call in calls if call.kind == 'act']
    assert actions == [*alone(1, 2), *alone(3, 4)]


def test_a_reset_waits_for_the_request_before_it(bench):
    peer = bench.connect()
    running, reset = bench.send(peer), bench.send(peer, 'reset')
    bench.take()
    assert bench.answers() == {}
    assert [*bench.run()] == [running, reset]


def test_a_chunk_is_as_predicted_and_is_no_step(bench):
    peer = bench.connect()
    bench.act(peer, 1)
    call = bench.send(peer, 'chunk', 9)
    np.testing.assert_array_equal(bench.run()[call].chunk, predict(9))
    assert bench.act(peer, 2) == alone(1, 2)[1]


def test_without_aggregation_a_chunk_is_played_until_the_next_is_due():
    scheduler = Scheduler(lambda: make_episode(every=3))
    scheduler.opened(1, b'')
    wanted = []
    for i in range(7):
        scheduler.add(Call(1, 'act', 0.0, i), 0.0)
        (turn,) = scheduler.take(0.0)
        wanted.append(turn.wants_chunk)
        scheduler.finish(turn, carry_out(turn), 0.0)
    assert wanted == [True, False, False, True, False, False, True]


# --- turns


def test_those_who_wait_go_through_together_and_in_turns():
    bench = Bench(max_batch=3)
    peers = [bench.connect() for _ in range(4)]
    calls = {peer: [bench.send(peer, 'act', i) for i in range(3)] for peer in peers}
    order = []
    while taken := bench.take():
        order.append([call.peer for call in taken])
        bench.finish()
    a, b, c, d = peers
    assert order == [[a, b, c], [d, a, b], [c, d, a], [b, c, d]]
    answers = bench.answers()
    for each in calls.values():
        assert [answers[call].action.item() for call in each] == alone(0, 1, 2)


def test_of_one_session_one_request_is_in_hand(bench):
    peer = bench.connect()
    calls = [bench.send(peer), bench.send(peer)]
    assert bench.take() == calls[:1] and bench.take() == []
    bench.finish()
    assert bench.take() == calls[1:]


# --- time


def test_what_has_expired_is_dropped_unrun_and_told_so(bench):
    bench.begin('robot', peer := bench.connect())
    late = bench.send(peer, 'act', 5, session='robot', expires=bench.now + 1)
    assert bench.scheduler.next_time() == bench.now + 1
    bench.now += 1
    bench.scheduler.expire(bench.now)
    assert bench.answers()[late].code == 'expired'
    assert bench.take() == []
    assert bench.act(peer, 6, session='robot') == alone(6)[0]


def test_a_pass_that_has_begun_is_finished_also_after_the_deadline(bench):
    peer = bench.connect()
    call = bench.send(peer, expires=bench.now + 1)
    bench.take()
    bench.now += 2
    assert bench.run()[call].code == ''


def test_the_times_that_a_request_took_are_told(bench):
    call = bench.send(bench.connect())
    bench.now += 0.25
    bench.take()
    bench.now += 1
    outcome = bench.run()[call]
    assert (outcome.queue, outcome.inference) == (0.25, 0.5)


def test_what_a_client_that_is_gone_waited_for_is_no_step(bench):
    gone, stays = bench.connect(b'robot'), bench.connect(b'robot')
    bench.send(gone, 'act', 5)
    bench.scheduler.closed(gone)
    assert bench.run() == {}
    assert bench.act(stays, 6) == alone(6)[0]


def test_of_several_requests_of_a_named_session_the_newest_waits(bench):
    bench.begin('robot', peer := bench.connect())
    first = bench.send(peer, 'act', 1, session='robot')
    bench.take()
    *older, newest = [bench.send(peer, 'act', i, session='robot') for i in range(2, 6)]
    answers = bench.run()
    assert [answers[call].code for call in older] == ['replaced'] * 3
    assert [answers[call].action.item() for call in (first, newest)] == alone(1, 5)


def test_an_older_step_that_comes_later_does_not_replace_a_newer_one(bench):
    bench.begin('robot', peer := bench.connect())
    newer = bench.send(peer, 'act', 1, session='robot', step=7)
    older = bench.send(peer, 'act', 2, session='robot', step=6)
    answers = bench.run()
    assert (answers[older].code, answers[newer].code) == ('replaced', '')


def test_a_reset_of_a_named_session_waits_for_nothing(bench):
    bench.begin('robot', peer := bench.connect())
    running = bench.send(peer, 'act', 1, session='robot')
    bench.take()
    waiting = bench.send(peer, 'act', 2, session='robot')
    reset = bench.send(peer, 'reset', session='robot')
    answers = bench.answers()
    assert (answers[waiting].code, answers[reset].code) == ('replaced', '')
    assert bench.run()[running].action.item() == alone(1)[0]  # of the episode before
    assert bench.act(peer, 3, session='robot') == alone(3)[0]


def test_steps_are_those_of_the_clients_clock(bench):
    bench.begin('robot', peer := bench.connect())
    got = [bench.act(peer, x, session='robot', step=s) for s, x in ((0, 1), (2, 5), (3, 6))]
    assert got == alone(1, 5, 6, steps=(0, 2, 3))
    assert bench.act(peer, 9, session='robot', step=3) == 'old_step'
    assert bench.act(peer, 9, session='robot') == alone(1, 5, 6, 9, steps=(0, 2, 3, 4))[3]


# --- once more


def test_a_repeated_id_is_answered_from_memory(bench):
    bench.begin('robot', peer := bench.connect())
    first = bench.act(peer, 1, session='robot', id=7)
    other = bench.connect()  # it has connected anew
    assert bench.act(other, 99, session='robot', id=7) == first
    assert bench.act(other, 2, session='robot', id=8) == alone(1, 2)[1]


def test_a_repeated_reset_begins_no_further_episode(bench):
    peer = bench.connect()
    bench.send(peer, 'reset', session='robot', id=1)
    bench.act(peer, 1, session='robot', id=2)
    bench.send(peer, 'reset', session='robot', id=1)
    assert bench.codes() == ['']
    assert bench.act(peer, 2, session='robot', id=3) == alone(1, 2)[1]


def test_a_repeated_id_that_is_under_way_runs_once(bench):
    bench.begin('robot', peer := bench.connect())
    first = bench.send(peer, 'act', 1, session='robot', id=7)
    second = bench.send(bench.connect(), 'act', 1, session='robot', id=7)  # it waits
    assert bench.take() == [first]
    third = bench.send(bench.connect(), 'act', 1, session='robot', id=7)  # it is in hand
    answers = bench.run()
    assert {answers[call].action.item() for call in (first, second, third)} == set(alone(1))
    assert bench.act(peer, 2, session='robot') == alone(1, 2)[1]


def test_a_repeated_id_waits_on_where_the_first_has_gone_or_expired(bench):
    bench.begin('robot', peer := bench.connect())
    bench.send(peer, 'act', 1, session='robot', id=7)
    late = bench.send(bench.connect(), session='robot', id=7, expires=bench.now + 1)
    stays = bench.send(bench.connect(), 'act', 1, session='robot', id=7)
    bench.scheduler.closed(peer)
    bench.now += 1
    answers = bench.run()
    assert answers[late].code == 'expired'
    assert answers[stays].action.item() == alone(1)[0]
    assert len(answers) == 2


def test_a_failure_may_be_tried_again_under_its_id(bench):
    bench.begin('robot', peer := bench.connect())
    call = bench.send(peer, 'act', 1, session='robot', id=7)
    (turn,) = bench.scheduler.take(bench.now)
    bench.scheduler.finish(turn, Outcome('policy_failed', 'out of memory'), bench.now)
    assert bench.answers()[call].code == 'policy_failed'
    assert bench.act(peer, 1, session='robot', id=7) == alone(1)[0]


def test_the_last_answers_are_kept(bench):
    bench.begin('robot', peer := bench.connect())
    actions = [bench.act(peer, i, session='robot', id=i) for i in range(ANSWERS + 1)]
    assert bench.act(peer, 99, session='robot', id=1) == actions[1]
    assert bench.act(peer, 99, session='robot', id=0) != actions[0]


# --- bounds


def test_the_oldest_idle_session_makes_room():
    bench = Bench(max_sessions=2)
    bench.begin('one', peer := bench.connect())
    bench.begin('two', peer)
    bench.now += IDLE
    bench.act(peer, 1, session='one')
    bench.begin('three', peer)
    assert bench.act(peer, session='two') == 'no_session'
    assert bench.act(peer, 2, session='one') == alone(1, 2)[1]


def test_where_none_is_idle_a_newcomer_is_told_so():
    bench = Bench(max_sessions=2)
    peers = [bench.connect(), bench.connect()]
    for peer in peers:
        bench.act(peer)
    assert bench.act(bench.connect()) == 'busy'
    bench.send(peers[0])
    bench.now += 2 * IDLE
    bench.send(peers[1])
    bench.send(newcomer := bench.connect(), 'reset', session='robot')
    (outcome,) = bench.answers().values()
    assert outcome.message == 'all 2 sessions are in use; try again later'
    bench.scheduler.closed(peers[0])
    bench.begin('robot', newcomer)


def test_a_session_that_nobody_uses_ends():
    bench = Bench(session_timeout=60)
    bench.begin('robot', peer := bench.connect())
    bench.act(peer, 1)
    assert bench.scheduler.next_time() == bench.now + 60
    bench.now += 59
    bench.act(peer, 2)
    bench.now += 1
    bench.scheduler.expire(bench.now)
    assert bench.act(peer, 1, session='robot') == 'no_session'
    assert bench.act(peer, 3) == alone(1, 2, 3)[2]


def test_a_session_with_a_request_in_hand_does_not_end():
    bench = Bench(session_timeout=60)
    bench.begin('robot', peer := bench.connect())
    call = bench.send(peer, 'act', 1, session='robot')
    bench.take()
    bench.now += 1000
    bench.scheduler.expire(bench.now)
    assert bench.run()[call].action.item() == alone(1)[0]
    assert bench.act(peer, 2, session='robot') == alone(1, 2)[1]


def test_the_place_of_a_session_that_has_ended_is_given_again():
    bench = Bench()
    peers = [bench.connect() for _ in range(3)]
    for peer in peers:
        bench.act(peer)
    bench.scheduler.closed(peers[1])
    bench.send(bench.connect())
    (turn,) = bench.scheduler.take(bench.now)
    assert turn.place == 1


def test_at_the_end_all_who_wait_are_told_so(bench):
    peer, other = bench.connect(), bench.connect()
    running, waiting = bench.send(peer), bench.send(other)
    bench.scheduler.max_batch = 1
    assert bench.take() == [running]
    bench.scheduler.stop()
    assert [*bench.answers()] == [waiting]
    bench.scheduler.stop(bench.in_hand)
    answers = bench.answers()
    assert [*answers] == [running] and answers[running].code == 'stopping'


def test_the_id_of_an_act_makes_no_act_of_a_reset():
    bench = Bench()
    bench.begin('robot', peer := bench.connect())
    bench.act(peer, 1, session='robot')
    running = bench.send(peer, 'act', 2, session='robot')
    bench.take()
    late = bench.send(peer, 'act', 3, session='robot', id=7, expires=bench.now + 1)
    reset = bench.send(peer, 'reset', session='robot', id=7)
    bench.now += 2
    bench.scheduler.expire(bench.now)
    answers = bench.run()
    assert answers[late].code == 'replaced' and answers[reset].step == 0
    assert answers[running].action.item() == alone(1, 2)[1]
    assert bench.act(peer, 4, session='robot') == alone(4)[0]


# --- whatever comes


class Alone(RuleBasedStateMachine):
    """Each client's actions are those that it gets alone, whatever the others do.

    The reference is an episode for each client, which is given those of its requests that ran.
    """

    def __init__(self):
        super().__init__()
        self.bench = Bench(max_sessions=4, session_timeout=50, max_batch=2)
        self.identities = {}  # by peer
        self.sent = set()  # requests that have no answer yet
        self.references = {}  # episodes by client
        self.running = {}  # those of turns
        self.expected = {}  # results of requests that ran
        self.done = {}  # results that may come from memory, by client, kind and id
        self.observations = itertools.count()

    def client(self, call):
        return call.session or self.identities[call.peer]

    def key(self, call):
        return self.client(call), call.kind, call.id

    @initialize()
    def begin(self):
        self.peers = [self.connect(identity) for identity in (b'', b'', b'x', b'x')]
        for name in 'ab':
            self.send(0, 'reset', name, None, None, None)

    def connect(self, identity):
        peer = self.bench.connect(identity)
        self.identities[peer] = identity or peer
        return peer

    @rule(
        i=st.integers(0, 3), kind=st.sampled_from(['act', 'act', 'act', 'reset', 'chunk']),
        session=st.sampled_from([None, None, 'a', 'a', 'b', 'c']),
        id=st.none() | st.integers(0, 3),
        step=st.sampled_from([None, None, 0, 1, 2, 3]), time=st.sampled_from([None, None, 1, 3]),
    )  # fmt: skip
    def send(self, i, kind, session, id, step, time):
        self.wait(0)
        if session is None:
            step = id = None
        self.sent.add(self.bench.send(
            self.peers[i], kind, next(self.observations), session=session, id=id, step=step,
            expires=self.bench.now + (time or float('inf')),
        ))  # fmt: skip
        self.check()

    @rule(i=st.integers(0, 3))
    def reconnect(self, i):
        peer = self.peers[i]
        self.bench.scheduler.closed(peer)
        in_hand = {call for turn in self.bench.in_hand for call in turn.calls}
        self.sent = {call for call in self.sent if call.peer != peer or call in in_hand}
        self.check()
        self.peers[i] = self.connect(b'x' if i > 1 else b'')

    @rule(seconds=st.sampled_from([1, 1, 1, 2, 30]))
    def wait(self, seconds):
        self.bench.now += seconds
        self.bench.scheduler.expire(self.bench.now)
        self.check()

    @precondition(lambda self: not self.bench.in_hand)
    @rule()
    def take(self):
        late = {call for call in self.sent if call.expires <= self.bench.now}
        taken = self.bench.take()
        assert len(taken) <= 2
        assert self.sent.issuperset(taken)
        assert not late & set(taken)
        assert not {self.key(call) for call in taken} & {*self.done}
        self.check()
        for turn in self.bench.in_hand:
            client = self.client(turn.call)
            self.running[turn] = self.references.setdefault(client, make_episode())

    @precondition(lambda self: self.bench.in_hand)
    @rule(failing=st.sets(st.integers(0, 1), max_size=1))
    def finish(self, failing=()):
        for i, turn in enumerate(self.bench.in_hand):
            expected, outcome = None, Outcome('policy_failed', 'out of memory')
            if i not in failing:
                expected, outcome = self.reference(turn), carry_out(turn)
            self.expected |= dict.fromkeys(turn.calls, expected)
            self.bench.scheduler.finish(turn, outcome, self.bench.now)
        self.bench.in_hand.clear()
        self.check()

    def reference(self, turn):
        episode, call = self.running.pop(turn), turn.call
        if call.kind == 'chunk':
            return predict(call.observation)
        step = episode.step if call.step is None else call.step
        return episode.act(step, predict(call.observation))

    def check(self):
        for call, outcome in self.bench.answers().items():
            assert call in self.sent, 'one answer each, to those who are there'
            self.sent.remove(call)
            key = self.key(call)
            if outcome.code:
                assert self.expected.get(call) is None
            elif call in self.expected:
                result = outcome.chunk if outcome.action is None else outcome.action
                np.testing.assert_array_equal(result, self.expected[call])
                self.note(key, outcome)
            elif call.kind == 'reset' and key not in self.done:
                self.references[self.client(call)] = make_episode()
                self.note(key, outcome)
            else:
                assert outcome is self.done[key]
        for client in [*self.references]:
            if self.bench.scheduler.sessions.find(client) is None:  # it has ended
                del self.references[client]
                self.done = {key: each for key, each in self.done.items() if key[0] != client}

    def note(self, key, outcome):
        if isinstance(key[0], str) and key[2] is not None:
            self.done[key] = outcome

    @invariant()
    def bounded(self):
        assert len(self.bench.scheduler.sessions) <= 4
        for session in self.bench.scheduler.sessions:
            assert session.place < 4
            assert not session.named or len(session.waiting) <= 1

    def teardown(self):
        self.finish()
        self.take()
        while self.bench.in_hand:
            self.finish()
            self.take()
        assert not self.sent, 'every request has an answer'


TestAlone = Alone.TestCase
TestAlone.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
