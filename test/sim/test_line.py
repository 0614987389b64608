"""A line between the robot and its policy, in simulated time."""

import numpy as np
import pytest

from act_ros.errors import ParameterError
from act_ros.sim.rollout.line import LONGEST_WAIT, Line, Questions, parse_lines

S = 1_000_000_000


def ask(line, count, latency=0.0, begin=0):
    """One question after the other: how long each took [s], and whether it was answered."""
    questions, now, found = Questions(line, latency, begin, seed=1), begin, []
    for _ in range(count):
        done, answered = questions(now)
        found.append(((done - now) / 1e9, answered))
        now = done
    took, answered = zip(*found, strict=True)
    return np.array(took), np.array(answered)


def test_a_steady_line_delays_there_and_back():
    took, answered = ask(Line(delay=0.1), 20, latency=0.05)
    assert took == pytest.approx(0.25)
    assert answered.all()


def test_jitter_is_within_its_bounds_and_seldom_takes_too_long():
    took, answered = ask(Line(delay=0.1, jitter=0.1), 1000)
    assert 0.2 <= took[answered].min() < 0.25 and 0.35 < took[answered].max() <= 0.4
    assert answered.mean() > 0.99


def test_what_is_lost_either_way_is_given_up():
    took, answered = ask(Line(delay=0.05, loss=0.2), 4000)
    assert answered.mean() == pytest.approx(0.8**2, abs=0.03)
    assert took[answered] == pytest.approx(0.1)
    assert np.median(took[~answered]) < 0.4 and took.max() <= LONGEST_WAIT


def test_in_an_outage_nothing_comes_and_after_it_everything():
    questions = Questions(Line(delay=0.01, outage=(1.0, 2.0)), 0.0, begin=5 * S, seed=1)
    assert questions(5 * S)[1]
    assert not questions(6 * S)[1]
    assert not questions(6 * S - S // 200)[1], 'lost on its way'
    done, answered = questions(8 * S - 1)
    assert not answered and done <= 8 * S - 1 + LONGEST_WAIT * S
    assert questions(8 * S)[1]


def test_the_same_seed_is_the_same_line():
    line = Line(delay=0.1, jitter=0.1, loss=0.2)
    assert np.array_equal(ask(line, 50)[0], ask(line, 50)[0])


def test_it_is_read_and_named():
    line = Line.parse('delay=100, jitter=50,loss=20,outage=1+10')
    assert line == Line(0.1, 0.05, 0.2, (1.0, 10.0))
    assert line.name == 'line 100 to 150 ms, 20 % lost, out for 10 s at 1 s'
    assert Line.parse('delay=5').name == 'line 5 ms'


@pytest.mark.parametrize(
    'text', ['', 'delay', 'delay=-1', 'delay=nan', 'delay=1+2', 'loss=101', 'outage=3', 'speed=1']
)
def test_what_is_none_is_refused_with_the_form(text):
    with pytest.raises(ParameterError, match=r'--line has .*, expected delay=MS'):
        Line.parse(text)


def test_of_several_each_is_another_one():
    with pytest.raises(ParameterError, match='--line delay=10 is given twice'):
        parse_lines(['delay=10', 'delay=20', 'delay=10'])
    with pytest.raises(ParameterError, match='--line is given 9 times, expected 8 at most'):
        parse_lines([f'delay={i}' for i in range(9)])
