"""What is logged of refused requests, by a clock that the test turns."""

import logging

import pytest

from act_ros.bridge.refusals import MAX_KINDS, PERIOD, Refusals


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def refusals(clock):
    return Refusals(clock)


def said(caplog):
    lines = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    caplog.clear()
    return lines


def test_the_first_of_each_kind_is_told_at_once_and_then_their_number(refusals, clock, caplog):
    assert refusals.tell_when_due() is None
    for i in range(50):
        refusals.add(f'qpos[{i}] (arm/joint_{i}/position) is nan, expected a number')
        refusals.add(f'the request has {i} frames, expected one pickled object')
    refusals.add("unknown camera 'rgb'; expected rgb_main")
    assert said(caplog) == [
        'refused: qpos[0] (arm/joint_0/position) is nan, expected a number',
        'refused: the request has 0 frames, expected one pickled object',
        "refused: unknown camera 'rgb'; expected rgb_main",
    ]
    clock.now += PERIOD - 1
    assert refusals.tell_when_due() == pytest.approx(1)
    clock.now += 1
    assert refusals.tell_when_due() == PERIOD
    assert said(caplog) == [
        'refused: 49 more in 60 s like this one: '
        'qpos[49] (arm/joint_49/position) is nan, expected a number',
        'refused: 49 more in 60 s like this one: '
        'the request has 49 frames, expected one pickled object',
    ]


def test_what_goes_on_is_told_once_a_period_and_what_comes_again_at_once(refusals, clock, caplog):
    for _ in range(3):
        for _ in range(100):
            refusals.add('short')
        clock.now += PERIOD
        refusals.tell_when_due()
    assert said(caplog) == [
        'refused: short',
        *[f'refused: {count} more in 60 s like this one: short' for count in (99, 100, 100)],
    ]
    clock.now += PERIOD
    assert refusals.tell_when_due() is None and said(caplog) == []
    refusals.add('short')
    assert said(caplog) == ['refused: short']


def test_an_attacker_who_words_each_differently_does_not_fill_the_log(refusals, clock, caplog):
    words = [f'{chr(97 + i % 26)}{chr(97 + i // 26)} is wrong' for i in range(600)]
    for word in words:
        refusals.add(word)
    clock.now += PERIOD
    assert refusals.tell_when_due() is None  # none of the kinds that are known came again
    *first, others = said(caplog)
    assert first == [f'refused: {word}' for word in words[:MAX_KINDS]]
    assert others == (
        f'refused: {600 - MAX_KINDS} more in 60 s in other ways, the latest: {words[-1]}'
    )


def test_a_fault_is_an_error_with_its_traceback_once(refusals, caplog):
    fault = RuntimeError('CUDA error')
    for _ in range(3):
        refusals.add('the policy failed: RuntimeError: CUDA error', fault)
    refusals.tell()
    told = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert [record.levelname for record in told] == ['ERROR', 'WARNING']
    assert told[0].exc_info[1] is fault and told[1].exc_info is None
