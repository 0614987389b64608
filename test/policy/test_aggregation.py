"""Temporal aggregation against the formula as the paper writes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import UncoveredStepError
from act_ros.policy import TemporalAggregator

DIM = 3


def naive(chunks: dict[int, np.ndarray], k: int, step: int, decay: float) -> np.ndarray | None:
    """The formula over every chunk that has come, with nothing ever forgotten."""
    covering = [s for s in sorted(chunks) if s <= step < s + k]
    if not covering:
        return None
    ages = covering[-1] - np.array(covering)
    weights = np.exp(decay * ages) if decay < 0 else np.exp(-decay * np.arange(len(covering)))
    weights /= weights.sum()
    return sum(w * chunks[s][step - s] for w, s in zip(weights, covering, strict=True))


def chunk(rng: np.random.Generator, k: int) -> np.ndarray:
    return rng.normal(size=(k, DIM)).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    k=st.integers(1, 12),
    decay=st.floats(-2, 2),
    # For each step: which earlier steps' chunks arrive at it (late, missing, twice, any order).
    delays=st.lists(st.lists(st.integers(0, 15), max_size=3), min_size=1, max_size=60),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_naive_formula_for_any_arrivals(k, decay, delays, seed):
    rng = np.random.default_rng(seed)
    aggregator = TemporalAggregator(k, DIM, decay)
    arrived = {}
    for step, late in enumerate(delays):
        for delay in late:
            source = step - delay
            if source >= 0:
                arrived[source] = chunk(rng, k)
                aggregator.add(arrived[source], source)
        expected = naive(arrived, k, step, decay)
        if expected is None:
            with pytest.raises(UncoveredStepError, match=str(step)):
                aggregator.action(step)
        else:
            np.testing.assert_allclose(aggregator.action(step), expected, rtol=0, atol=1e-12)
            covering = [s for s in sorted(arrived) if s <= step < s + k]
            assert aggregator.steps(step).tolist() == covering


def test_works_for_any_length_in_constant_memory():
    k = 5
    rng = np.random.default_rng(0)
    aggregator = TemporalAggregator(k, DIM)

    def size() -> int:
        arrays = [a for a in vars(aggregator).values() if isinstance(a, np.ndarray)]
        return sum(a.nbytes for a in arrays if a.base is None)

    before, recent = size(), {}
    for step in [*range(20), *range(10**6, 10**6 + 20)]:
        recent[step] = chunk(rng, k)
        aggregator.add(recent[step], step)
        np.testing.assert_allclose(
            aggregator.action(step), naive(recent, k, step, 0.01), rtol=0, atol=1e-12
        )
    assert size() == before


def test_a_changed_decay_counts_at_once():
    rng = np.random.default_rng(1)
    aggregator = TemporalAggregator(4, DIM, decay=0.01)
    chunks = {s: chunk(rng, 4) for s in range(4)}
    for step, each in chunks.items():
        aggregator.add(each, step)
    aggregator.decay = 1.5
    np.testing.assert_allclose(aggregator.action(3), naive(chunks, 4, 3, 1.5), atol=1e-12)


def test_an_exact_zero_is_an_action_like_any_other():
    aggregator = TemporalAggregator(2, DIM, decay=0.0)
    aggregator.add(np.zeros((2, DIM), np.float32), 0)
    aggregator.add(np.ones((2, DIM), np.float32), 1)
    np.testing.assert_allclose(aggregator.action(1), [0.5] * DIM)


def test_reset_forgets_everything():
    aggregator = TemporalAggregator(4, DIM)
    aggregator.add(np.ones((4, DIM), np.float32), 0)
    aggregator.reset()
    with pytest.raises(UncoveredStepError):
        aggregator.action(0)
    aggregator.add(np.full((4, DIM), 2.0, np.float32), 0)
    np.testing.assert_allclose(aggregator.action(1), [2.0] * DIM)


@pytest.mark.parametrize('decay', [np.nan, np.inf, -np.inf])
def test_refuses_a_decay_that_is_none(decay):
    with pytest.raises(ValueError, match='decay'):
        TemporalAggregator(4, DIM, decay)


def test_refuses_a_chunk_of_another_shape():
    with pytest.raises(ValueError, match=r'\(4, 2\).*\(4, 3\)'):
        TemporalAggregator(4, DIM).add(np.ones((4, 2)), 0)


@pytest.mark.parametrize('fade', [-1.0, np.nan, np.inf])
def test_refuses_a_fade_that_is_none(fade):
    with pytest.raises(ValueError, match='fade'):
        TemporalAggregator(4, DIM, fade=fade)


@pytest.mark.parametrize(('decay', 'favoured'), [(-10.0, 50), (-1000.0, 50), (10.0, 1)])
def test_a_strong_decay_takes_one_side_alone_and_never_overflows(decay, favoured):
    aggregator = TemporalAggregator(50, 1, decay)
    for step in range(1, 51):
        aggregator.add(np.full((50, 1), float(step)), step)
    assert aggregator.action(50)[0] == pytest.approx(favoured, abs=1e-3)


def test_without_a_mean_the_newest_chunk_that_has_come_is_played():
    player = TemporalAggregator(3, DIM, newest=np.ones(DIM, bool))
    first, second = np.arange(9.0).reshape(3, 3), 100 + np.arange(9.0).reshape(3, 3)
    player.add(first, 0)
    np.testing.assert_array_equal(player.action(1), first[1])
    player.add(second, 2)
    player.add(first, 1)  # late and older
    np.testing.assert_array_equal(player.steps(3), [2])
    np.testing.assert_array_equal(player.action(3), second[1])
    with pytest.raises(UncoveredStepError, match='5'):
        player.action(5)


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(-20, 20),
    spread=st.lists(st.floats(-1.4, 1.4), min_size=1, max_size=5),
    turns=st.lists(st.integers(-3, 3), min_size=5, max_size=5),
)
def test_angles_on_both_sides_of_the_seam_are_blended_as_what_they_are(angle, spread, turns):
    turn = 2 * np.pi
    aggregator = TemporalAggregator(5, 2, 0.1, turns=np.array([turn, np.inf]))
    plain, whole = TemporalAggregator(5, 2, 0.1), []
    for step, (apart, by) in enumerate(zip(spread, turns, strict=False)):
        unwrapped = np.tile([angle + apart, apart], (5, 1)).astype(np.float64)
        plain.add(unwrapped, step)
        aggregator.add(unwrapped + np.array([by * turn, 0.0]), step)
        whole.append(by)
    step = len(spread) - 1
    # It lies in the turn of the newest chunk.
    expected = plain.action(step) + np.array([whole[-1] * turn, 0.0])
    np.testing.assert_allclose(aggregator.action(step), expected, atol=1e-9)
    assert aggregator.action(step)[1] == plain.action(step)[1]


# --- chunks that come late ----------------------------------------------------------------


def play(latency, fade, *, decay=0.01, newest=None, k=40, steps=300, seed=0, plan=None):
    """Passes back to back; each chunk is a line with an offset of its own."""
    aggregator = TemporalAggregator(k, 1, decay, fade, newest=newest)
    rng, actions = np.random.default_rng(seed), []
    offsets = iter(rng.choice([-1.0, 1.0], steps))
    for step in range(steps):
        if step >= latency and step % latency == 0:
            line = 0.01 * np.arange(step - latency, step - latency + k) + next(offsets)
            aggregator.add(line[:, None], step - latency, step)
        if step >= latency:
            actions.append(aggregator.action(step)[0])
    return np.array(actions)


def largest(actions, order):
    return np.abs(np.diff(actions, order)).max()


@pytest.mark.parametrize('newest', [None, np.ones(1, bool)], ids=['mean', 'newest'])
@pytest.mark.parametrize('decay', [-10.0, -0.5, 0.0, 0.01, 0.5])
@pytest.mark.parametrize('latency', [1, 3, 8, 15, 19, 20])
def test_no_chunk_comes_or_goes_in_one_step(latency, decay, newest):
    fade = 12
    smooth = play(latency, fade, decay=decay, newest=newest)
    # From one plan to another that is 2 away, by the fade at its steepest, and the line's own;
    # where several come and go in one fade, they add up to no more than twice that.
    assert largest(smooth, 1) <= 2 * 2.0 * 1.875 / (fade + 1) + 0.01
    assert largest(smooth, 3) < 0.3
    hard = play(latency, 0, decay=decay, newest=newest)
    assert largest(smooth, 3) < largest(hard, 3) / 4 or largest(hard, 3) < 0.1


@pytest.mark.parametrize('fade', [0.0, 5.0, 50.0])
def test_a_fade_changes_nothing_where_every_chunk_comes_in_its_own_step(fade):
    rng = np.random.default_rng(3)
    public, faded = TemporalAggregator(6, DIM), TemporalAggregator(6, DIM, fade=fade)
    for step in range(40):
        if step % 7 != 2:  # one that never came
            each = chunk(rng, 6)
            public.add(each, step)
            faded.add(each, step, arrival=step)
        np.testing.assert_array_equal(faded.action(step), public.action(step))
        np.testing.assert_array_equal(faded.steps(step), public.steps(step))


def test_no_fade_is_the_public_rule_for_late_chunks_too():
    public, late = TemporalAggregator(8, DIM), TemporalAggregator(8, DIM)
    rng = np.random.default_rng(4)
    for step in range(5, 40):
        each = chunk(rng, 8)
        public.add(each, step - 5)
        late.add(each, step - 5, arrival=step)
        np.testing.assert_array_equal(late.action(step), public.action(step))


@settings(max_examples=100, deadline=None)
@given(
    k=st.integers(1, 12), fade=st.integers(0, 8), decay=st.floats(-3, 3),
    delays=st.lists(st.lists(st.integers(0, 15), max_size=3), min_size=1, max_size=60),
)  # fmt: skip
def test_shares_are_a_mean_whatever_comes_when(k, fade, decay, delays):
    """What all chunks agree on is the action, and no action is outside what they say."""
    newest = np.array([False, True, False])
    aggregator = TemporalAggregator(k, DIM, decay, fade, newest=newest)
    for step, late in enumerate(delays):
        for delay in late:
            if step >= delay:
                plan = np.full((k, DIM), 1.5)
                plan[:, :2] = delay % 3
                aggregator.add(plan, step - delay, step)
        try:
            action = aggregator.action(step)
        except UncoveredStepError:
            assert aggregator.steps(step).size == 0
            continue
        assert action[2] == pytest.approx(1.5, abs=1e-12)
        assert (action[:2] >= -1e-12).all() and (action[:2] <= 2 + 1e-12).all()
        steps = aggregator.steps(step)
        assert len(steps) and (np.diff(steps) > 0).all() and steps[-1] <= step


def test_what_is_asked_of_coming_steps_is_what_they_will_give():
    aggregator, rng = TemporalAggregator(30, DIM, fade=8), np.random.default_rng(5)
    for step in range(10, 200):
        if step % 10 == 0:
            aggregator.add(chunk(rng, 30), step - 10, step)
            coming = {t: aggregator.action(t) for t in range(step, step + 10)}
        np.testing.assert_array_equal(aggregator.action(step), coming[step])


@settings(max_examples=200, deadline=None)
@given(
    k=st.integers(1, 12), fade=st.integers(0, 8), decay=st.floats(-3, 3),
    delays=st.lists(st.lists(st.integers(0, 15), max_size=2), min_size=1, max_size=40),
    newest=st.lists(st.booleans(), min_size=DIM, max_size=DIM), seed=st.integers(0, 99),
)  # fmt: skip
def test_several_steps_at_once_are_what_each_of_them_is(k, fade, decay, delays, newest, seed):
    aggregator = TemporalAggregator(
        k, DIM, decay, fade, np.array([2 * np.pi, np.inf, np.inf]), np.array(newest)
    )
    rng = np.random.default_rng(seed)
    assert aggregator.actions(0, 5).shape == (0, DIM)
    for step, late in enumerate(delays):
        for delay in late:
            if step >= delay:
                aggregator.add(4 * chunk(rng, k), step - delay, step)
        each = []
        for coming in range(step, step + 15):
            try:
                each.append(aggregator.action(coming))
            except UncoveredStepError:
                break
        together = aggregator.actions(step, 15)
        np.testing.assert_allclose(together, np.reshape(each, (-1, DIM)), rtol=0, atol=1e-12)
        assert len(aggregator.actions(step, 2)) == min(2, len(each))


def test_a_plan_that_ends_as_the_next_one_comes_goes_on_as_it_went():
    k, fade = 20, 8
    aggregator = TemporalAggregator(k, 1, fade=fade)
    line = 0.1 * np.arange(40.0)
    aggregator.add(line[:k, None], 0, 5)
    aggregator.add(line[10 : 10 + k, None] + 1.0, 10, k)  # comes when the first has ended
    actions = np.array([aggregator.action(step)[0] for step in range(5, 30)])
    expected = line[5:30] + np.where(np.arange(5, 30) >= k + fade, 1.0, 0.0)
    outside = np.r_[5:k, k + fade : 30] - 5
    np.testing.assert_allclose(actions[outside], expected[outside], atol=1e-12)
    assert (np.diff(actions) > 0.09).all() and largest(actions, 2) < 0.1


@pytest.mark.parametrize('wraps', np.arange(-1.9, -1.3, 0.1).round(1))
def test_so_does_an_angle_whose_last_steps_wrap(wraps):
    k, turn = 20, 2 * np.pi
    angles = TemporalAggregator(k, 1, fade=8, turns=np.array([turn]))
    plain = TemporalAggregator(k, 1, fade=8)
    path = np.pi + wraps + 0.1 * np.arange(40.0)
    for first, arrival in ((0, 5), (10, k)):
        each = path[first : first + k, None]
        plain.add(each, first, arrival)
        angles.add((each + np.pi) % turn - np.pi, first, arrival)
    apart = [angles.action(t)[0] - plain.action(t)[0] for t in range(5, 30)]
    np.testing.assert_allclose(apart, turn * np.rint(np.array(apart) / turn), atol=1e-9)


def test_a_chunk_that_comes_once_more_is_not_faded_in_again():
    aggregator, actions = TemporalAggregator(40, 1, fade=10), []
    aggregator.add(np.zeros((40, 1)), 0, 10)
    for step in range(20, 40):
        if step in (21, 28, 36):
            aggregator.add(np.ones((40, 1)), 15, step)
        actions.append(aggregator.action(step)[0])
    assert largest(np.array(actions), 1) < 0.1
    assert actions[-1] > 0.99


def test_entries_that_follow_the_newest_stand_beside_others():
    aggregator = TemporalAggregator(10, 2, newest=np.array([False, True]))
    aggregator.add(np.zeros((10, 2)), 0)
    aggregator.add(np.ones((10, 2)), 1)
    assert aggregator.action(2)[1] == 1.0
    assert 0.4 < aggregator.action(2)[0] < 0.5


@pytest.mark.parametrize('newest', [(0, 0, 0), (1, 0, 0), (1, 1, 1)])
def test_a_velocity_beside_a_position_is_told_what_a_fade_moves(newest):
    rate, slope, k = 50.0, 0.01, 40
    aggregator = TemporalAggregator(
        k, 3, fade=10, newest=np.array(newest, bool), speeds=[(0, 2, 2 * rate)]
    )
    rng, sent = np.random.default_rng(6), []
    for step in range(8, 200):
        if step % 8 == 0:
            plan = np.empty((k, 3))
            plan[:, 0] = slope * np.arange(step - 8, step - 8 + k) + rng.normal()
            plan[:, 1:] = 2 * rate * slope
            aggregator.add(plan, step - 8, step)
        sent.append(aggregator.action(step))
        coming = aggregator.actions(step, 5)
        np.testing.assert_allclose(coming[0], sent[-1], atol=1e-9)
        moved = np.diff(coming[:, 0]) * 2 * rate
        np.testing.assert_allclose(coming[1:, 2], moved, atol=1.0)  # of up to 15
    sent = np.array(sent)
    np.testing.assert_allclose(sent[1:, 2], np.diff(sent[:, 0]) * 2 * rate, atol=1.0)
    assert np.ptp(sent[:, 2]) > 10  # a fade is fast
    np.testing.assert_allclose(sent[:, 1], 2 * rate * slope)  # which is nobody's velocity
