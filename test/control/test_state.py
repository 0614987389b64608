"""What leads from one state to another."""

import itertools

import pytest

from act_ros.control.state import FAILURES, TRANSITIONS, Event, State, StateMachine

SECOND = 1_000_000_000


def test_whatever_the_state_what_is_wrong_ends_commands_and_a_person_may_begin_anew():
    for state in State:
        assert TRANSITIONS[state][Event.LATCH] is State.LATCHED
        assert TRANSITIONS[state][Event.FAULT] in (State.STOPPED, State.LATCHED)
        assert TRANSITIONS[state][Event.RESET] is State.WAITING


def test_only_a_person_ends_a_stop_that_latched():
    leaving = {event for event, to in TRANSITIONS[State.LATCHED].items() if to != State.LATCHED}
    assert leaving == {Event.RESET}


def test_no_command_follows_a_stop_without_an_episode_between():
    for state in (State.STOPPED, State.LATCHED):
        assert Event.COMMAND not in TRANSITIONS[state]
        with pytest.raises(KeyError):
            machine_in(state).command()


def test_every_state_can_be_reached_from_every_other():
    for state, wanted in itertools.product(State, State):
        seen, grown = {state}, True
        while grown:
            reached = seen.union(*(TRANSITIONS[s].values() for s in seen))
            grown, seen = reached != seen, reached
        assert wanted in seen


def machine_in(state):
    machine = StateMachine(5 * SECOND, SECOND // 2, calm=50)
    if state is State.RUNNING:
        machine.command()
    if state is State.STOPPED:
        machine.fault('why', 0)
    if state is State.LATCHED:
        machine.latch('why', 0)
    assert machine.state is state
    return machine


def test_a_stop_counts_once_and_says_the_newest_reason():
    machine = machine_in(State.RUNNING)
    machine.fault('first', 0)
    machine.fault('second', 1)
    assert (machine.count, machine.last, machine.reason) == (1, 'first', 'second')
    machine.latch('third', 2)
    assert (machine.count, machine.reason) == (1, 'second; third')
    machine.fault('fourth', 3)
    assert machine.reason == 'second; third'
    machine.reset()
    assert machine.reason == ''


@pytest.mark.parametrize('apart', [1, 2, 50])
def test_failures_count_until_there_was_a_calm(apart):
    machine = machine_in(State.RUNNING)
    for _ in range(FAILURES - 1):
        machine.fail('why', 0)
        for tick in range(apart):
            machine.tick(tick)
        assert machine.state is State.STOPPED
    machine.fail('why', 0)
    assert machine.state is State.LATCHED


def test_one_failure_and_a_calm_is_forgotten():
    machine = machine_in(State.RUNNING)
    for _ in range(10):
        machine.fail('why', 0)
        for tick in range(51):
            machine.tick(tick)
        machine.inputs()
        machine.command()
    assert machine.state is State.RUNNING
