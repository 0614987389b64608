"""What the page beside the robot shows of what the node says."""

import math

import pytest

from act_ros.web.serving import is_here
from act_ros.web.summary import Joint, Status, summary

CONTROL = Status(0, 'active', {
    'state': 'active', 'control': 'running', 'episode': '3', 'seam': '0.012',
    'seam_entry': 'arm/a/position', 'limit/step/arm/a/position': '4',
    'limit/max_position/arm/b/position': '9',
})  # fmt: skip
INPUTS = Status(1, 'front is stale', {'age/front': '0.4', 'rate/front': '3', 'age/arm': 'none'})
JOINTS = [Joint('a', 0.5, None, -math.inf, math.inf)]


def shown(statuses, age=0.5, **more):
    return summary(statuses, age, JOINTS, ['front'], max_age=0.1, **more)


def test_a_node_that_is_well_is_green_and_says_what_it_does():
    page = shown({'control': CONTROL})
    assert (page['state'], page['level'], page['reason']) == ('active', 0, 'running, episode 3')
    assert {'name': 'largest seam [rad]', 'value': '0.012 (arm/a/position)'} in page['figures']
    assert [limit['count'] for limit in page['limits']] == [9, 4]
    assert shown({'control': CONTROL}, dry=True)['state'] == 'active, dry run'
    assert page['joints'] == [
        {'name': 'a', 'commanded': 0.5, 'measured': None, 'low': None, 'high': None}
    ]


def test_the_worst_part_gives_the_colour_and_the_reason():
    page = shown({'control': CONTROL, 'inputs': INPUTS})
    assert (page['level'], page['reason']) == (1, 'front is stale')
    gone = Status(3, 'front is stale', {})  # it comes back by itself
    assert shown({'control': CONTROL, 'inputs': gone})['level'] == 1
    assert len(shown({'control': Status(2, 'x' * 999, {})})['reason']) < 300
    assert page['inputs'] == [
        {'name': 'front', 'age': 0.4, 'rate': 3.0, 'late': True},
        {'name': 'arm', 'age': None, 'rate': None, 'late': True},
    ]


@pytest.mark.parametrize(('age', 'said'), [(None, 'nothing has been heard of it'), (7.2, '7 s')])
def test_a_node_that_is_silent_is_red_and_nothing_old_is_shown(age, said):
    page = shown({'control': CONTROL, 'inputs': INPUTS}, age)
    assert (page['state'], page['level']) == ('no node', 2)
    assert said in page['reason']
    assert page['inputs'] == page['figures'] == page['limits'] == []


def test_which_addresses_are_this_machines():
    assert all(map(is_here, ('127.0.0.1', 'localhost', '::1', '127.8.0.1')))
    assert not any(map(is_here, ('0.0.0.0', '::', '192.168.0.7', 'robot')))
