"""Temporal aggregation against the formula as the paper writes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.errors import UncoveredStepError
from act_ros.policy import ChunkPlayer, TemporalAggregator

DIM = 3


def naive(chunks: dict[int, np.ndarray], k: int, step: int, decay: float) -> np.ndarray | None:
    """The formula over every chunk that has come, with nothing ever forgotten."""
    covering = [s for s in sorted(chunks) if s <= step < s + k]
    if not covering:
        return None
    weights = np.exp(-decay * np.arange(len(covering)))
    weights /= weights.sum()
    return sum(w * chunks[s][step - s] for w, s in zip(weights, covering, strict=True))


def chunk(rng: np.random.Generator, k: int) -> np.ndarray:
    return rng.normal(size=(k, DIM)).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    k=st.integers(1, 12),
    decay=st.floats(0, 2),
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
        return sum(a.nbytes for a in vars(aggregator).values() if isinstance(a, np.ndarray))

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


@pytest.mark.parametrize('decay', [-0.1, np.nan, np.inf])
def test_refuses_a_decay_that_is_none(decay):
    with pytest.raises(ValueError, match='decay'):
        TemporalAggregator(4, DIM, decay)


@pytest.mark.parametrize('make', [TemporalAggregator, ChunkPlayer])
def test_refuses_a_chunk_of_another_shape(make):
    with pytest.raises(ValueError, match=r'\(4, 2\).*\(4, 3\)'):
        make(4, DIM).add(np.ones((4, 2)), 0)


def test_the_player_plays_the_newest_chunk_that_has_come():
    player = ChunkPlayer(3, DIM)
    first, second = np.arange(9.0).reshape(3, 3), 100 + np.arange(9.0).reshape(3, 3)
    player.add(first, 0)
    np.testing.assert_array_equal(player.action(1), first[1])
    player.add(second, 2)
    player.add(first, 1)  # late and older: dropped
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
    aggregator = TemporalAggregator(5, 2, 0.1, np.array([turn, np.inf]))
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
