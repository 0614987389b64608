"""How long to wait, from how long it took."""

import pytest

from act_ros.bridge.patience import SHORTEST, Patience


def test_before_the_first_answer_as_long_as_allowed():
    patience = Patience(2.0)
    assert patience.seconds == 2.0
    patience.lost()
    assert patience.seconds == 2.0


def test_a_steady_line_is_waited_for_a_little_longer_than_usual():
    patience = Patience(2.0)
    for _ in range(50):
        patience.answered(0.2)
    assert patience.seconds == pytest.approx(0.25, abs=0.01)
    patience = Patience(2.0)
    for _ in range(50):
        patience.answered(0.001)
    assert patience.seconds == SHORTEST


def test_where_it_varies_the_slow_answers_are_waited_for_too():
    patience = Patience(2.0)
    for _ in range(50):
        patience.answered(0.1)
        patience.answered(0.3)
    assert 0.3 < patience.seconds < 0.8


def test_losses_double_it_up_to_the_longest_until_an_answer_comes():
    patience = Patience(1.0)
    for _ in range(50):
        patience.answered(0.1)
    usual = patience.seconds
    patience.lost()
    assert patience.seconds == pytest.approx(2 * usual)
    for _ in range(2000):
        patience.lost()
    assert patience.seconds == 1.0
    patience.answered(0.1)
    assert patience.seconds == pytest.approx(usual)
