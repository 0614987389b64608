"""Chunks played on the client's side."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from act_ros.bridge.player import ChunkPlayer, playing
from act_ros.errors import ActError, LinkError, ObservationError, PolicyError
from act_ros.parameters import Settings
from act_ros.policy import Rollout, TemporalAggregator
from test.bridge.proxy import Proxy
from test.bridge.servers import PATIENCE, SIGHT, serving, tiny_task
from test.waiting import wait_until

CHUNK = 10


class Line:
    """A policy whose chunks go on from what it sees; a question may be lost, or wait."""

    chunk_size = CHUNK

    def __init__(self):
        self.task = tiny_task()
        self.fault = None
        self.go = threading.Event()
        self.go.set()
        self.asked = 0

    def predict(self, qpos, images):
        self.asked += 1
        assert self.go.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault
        return (qpos[0] + 0.1 * np.arange(self.chunk_size)[:, np.newaxis] ** 2).astype(np.float32)


def sight(value):
    return np.full(17, value, np.float32), SIGHT[1]


def acts(player):
    try:
        return player.act(*sight(1)) is not None
    except LinkError:
        return False


def is_answered(player):
    """Whether there is an action of another step, and then the chunk of that step."""
    if not acts(player):
        return False
    wait_until(lambda: player._mail is None and not player._asking, PATIENCE, 'an answer')
    chunks = [step for step, answer in player._arrived if isinstance(answer, np.ndarray)]
    return chunks[-1:] == [player.step - 1]


@pytest.fixture
def line():
    return Line()


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'decay': -0.1},
        {'temporal_aggregation': False},
        {'temporal_aggregation': False, 'query_every': 1},
        {'temporal_aggregation': False, 'query_every': 4, 'fade': 0.06},
    ],
)
def test_where_chunks_come_in_their_own_step_it_is_the_public_loop(line, changes):
    settings = replace(Settings(), **changes)
    rollout = Rollout(line, settings)
    with ChunkPlayer(line, settings, synchronous=True) as player:
        for value in (*range(25), *range(5)):
            if value == 0:
                player.reset()
                rollout.reset()
            np.testing.assert_array_equal(player.act(*sight(value)), rollout.act(*sight(value)))


def test_over_the_network_it_is_the_reference(server, reference):
    with playing(server.endpoint) as player:
        action = player.act(*reference.observation(0))
    np.testing.assert_allclose(action, reference.aggregated[0], atol=1e-4, rtol=0)


def test_a_late_chunk_is_of_its_step_and_fades_in(line):
    settings = replace(Settings(), fade=0.06)
    expected = TemporalAggregator(CHUNK, 1, settings.blending.decay, fade=3)
    with ChunkPlayer(line, settings) as player:
        player.act(*sight(0))
        expected.add(line.predict(*sight(0)), 0, 0)
        line.go.clear()
        for step in range(1, 5):
            np.testing.assert_array_equal(player.act(*sight(step)), expected.action(step))
            wait_until(lambda: line.asked >= 3, PATIENCE, 'the question of step 1')
        line.go.set()
        # Step 1, which was under way, and then the newest.
        wait_until(lambda: len(player._arrived) == 2, PATIENCE, 'both')
        expected.add(line.predict(*sight(1)), 1, 5)
        expected.add(line.predict(*sight(4)), 4, 5)
        line.go.clear()
        for step in range(5, 9):
            np.testing.assert_array_equal(player.act(*sight(step)), expected.action(step))
        line.go.set()


def test_without_aggregation_a_chunk_is_played_to_its_end(line):
    settings = replace(Settings(), temporal_aggregation=False)
    with ChunkPlayer(line, settings) as player:
        for step in range(CHUNK):
            action = player.act(*sight(step))
            np.testing.assert_array_equal(action, np.float32([0.1 * step**2]))
        assert line.asked == 1
        line.fault = LinkError('no answer from there')
        for step in (CHUNK, CHUNK + 1):  # a question that failed is asked again, of what is new
            with pytest.raises(LinkError, match='the newest is of step 0'):
                player.act(*sight(step))
            wait_until(lambda step=step: line.asked == step - CHUNK + 2, PATIENCE, 'a question')
            wait_until(lambda: player._arrived, PATIENCE, 'its failure')


def test_an_outage_is_ridden_over_as_long_as_chunks_last_and_no_longer(line):
    with ChunkPlayer(line) as player:
        player.act(*sight(0))
        line.fault = LinkError('no answer from there')
        for step in range(1, CHUNK):
            player.act(*sight(step))
        with pytest.raises(LinkError, match='no chunk covers step 10: the newest is of step 0'):
            player.act(*sight(CHUNK))
        line.fault = None
        wait_until(lambda: acts(player), PATIENCE, 'an action again')


def test_the_first_action_waits_and_what_is_lost_is_asked_for_again(line):
    line.fault = LinkError('no answer')
    timer = threading.Timer(0.2, lambda: setattr(line, 'fault', None))
    timer.start()
    with ChunkPlayer(line) as player:
        assert player.act(*sight(3)).item() == 3
    timer.join()
    assert 1 < line.asked < 20
    line.fault = LinkError('no answer')
    text = 'there is none, and since then no answer'
    with ChunkPlayer(line, patience=0.2) as player, pytest.raises(LinkError, match=text):
        player.act(*sight(0))


def test_what_is_no_matter_of_the_line_is_said_at_once(line):
    line.fault = PolicyError('another checkpoint')
    with ChunkPlayer(line) as player, pytest.raises(PolicyError, match='another checkpoint'):
        player.act(*sight(0))
    with ChunkPlayer(line) as player, pytest.raises(ObservationError, match='qpos has shape'):
        player.act(np.zeros(3, np.float32), SIGHT[1])


def test_steps_go_on_and_a_reset_begins_anew(line):
    with ChunkPlayer(line) as player:
        player.act(*sight(0), step=4)
        assert player.act(*sight(0)) is not None and player.step == 6
        with pytest.raises(ActError, match='step 3 is over: step 6 is the next one'):
            player.act(*sight(0), step=3)
        player.reset()
        assert player.act(*sight(7)).item() == 7


def test_a_question_under_way_has_its_time_at_the_end(line):
    line.go.clear()
    player = ChunkPlayer(line, patience=0.05)
    with pytest.raises(LinkError):
        player.act(*sight(0))
    ending = threading.Thread(target=player.close)
    ending.start()
    ending.join(0.2)
    assert ending.is_alive()
    line.go.set()
    ending.join(PATIENCE)
    assert not ending.is_alive() and not player._thread.is_alive()


def test_over_a_line_that_fails_chunks_are_played_to_their_end(line):
    with (
        serving(line) as server,
        Proxy(server.endpoint) as proxy,
        playing(proxy.endpoint, timeout=0.5) as player,
    ):
        for outage in (CHUNK // 2, 2 * CHUNK):
            wait_until(lambda: is_answered(player), PATIENCE, 'an action, and its chunk')
            proxy.out = True
            newest = player.step - 1
            for step in range(player.step, newest + outage):
                if step < newest + CHUNK:
                    player.act(*sight(step))
                    continue
                text = f'no chunk covers step {step}: the newest is of step {newest}, and since'
                with pytest.raises(LinkError, match=text):
                    player.act(*sight(step))
            proxy.out = False


def test_over_a_bad_line_no_step_waits():
    line = Line()
    line.chunk_size = 100
    with (
        serving(line) as server,
        Proxy(server.endpoint) as proxy,
        playing(proxy.endpoint, timeout=2.0) as player,
    ):
        player.act(*sight(0))
        proxy.loss, proxy.jitter = 0.2, 0.05
        begun = time.monotonic()
        waits = []
        for step in range(1, 100):  # at 100 Hz
            asked = time.monotonic()
            player.act(*sight(step))
            waits.append(time.monotonic() - asked)
            wait_until(lambda step=step: time.monotonic() > begun + step / 100, 1, 'the step')
        assert proxy.lost and player._newest > 50
        # A machine has its hiccups; who waits for what is lost does so a dozen times.
        assert sorted(waits)[-5] < 0.05
