"""How long to wait, from how long it took."""

import pytest

from act_ros.bridge.patience import FIRST, GROWTH, MOST, SHORTEST, Patience


def test_before_the_first_answer_longer_and_longer():
    patience = Patience(3.0)
    assert patience.seconds == FIRST
    patience.lost()
    assert patience.seconds == 2 * FIRST
    patience.lost()
    assert patience.seconds == 3.0
    assert Patience(0.5).seconds == 0.5


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


def test_losses_lengthen_it_somewhat_until_an_answer_comes():
    patience = Patience(1.0)
    for _ in range(50):
        patience.answered(0.1)
    usual = patience.seconds
    patience.lost()
    assert patience.seconds == pytest.approx(GROWTH * usual)
    for _ in range(2000):
        patience.lost()
    assert patience.seconds == pytest.approx(MOST * usual)
    patience.answered(0.1)
    assert patience.seconds == pytest.approx(usual)


def test_an_answer_that_came_too_late_says_how_long_to_wait():
    patience = Patience(2.0)
    for _ in range(50):
        patience.answered(0.05)
    for _ in range(3):
        patience.lost()
        patience.answered(0.8)
    assert patience.seconds > 0.8
