"""What an operator may get wrong, or change their mind about."""

import pytest

from act_ros.control.checks import check_latency
from act_ros.errors import ParameterError
from act_ros.parameters import Settings
from test.nodes.graph import TASK, run_node
from test.waiting import wait_until


@pytest.mark.parametrize(
    ('outputs', 'refused'),
    [
        (['arm/commands JointState'], ''),
        (['arm/velocities Float64MultiArray arm/*/velocity'], 'arm/left_joint_1/velocity'),
        (['arm/commands JointTrajectoryHorizon'], 'JointTrajectoryHorizon would play on'),
    ],
)
def test_silence_is_refused_where_the_robot_would_move_on(
    graph, ckpt, tmp_path, outputs, refused
):
    with run_node(tmp_path, ckpt, stop_policy='silent', outputs=outputs) as node:
        node.wait_for('ready: unconfigured')
        assert graph.change('configure') == (not refused), node.log
        if refused:
            line = node.wait_for('not configured')
            assert 'stop_policy is silent' in line and refused in line


def test_autostart_may_be_given_up_and_a_person_is_told_again_why_it_failed(graph, tmp_path):
    with run_node(tmp_path, tmp_path / 'nothing', autostart=True) as node:
        node.wait_for('not configured: no checkpoint folder')
        assert graph.set_parameter('autostart', False) == ''
        seen = len(graph.reports)
        wait_until(lambda: len(graph.reports) >= seen + 3, 20, 'three seconds')
        assert graph.reports[-1]['state'] == 'unconfigured'
        assert node.log.count('not configured') == 1
        assert not graph.change('configure')
        wait_until(lambda: node.log.count('not configured') == 2, 5, f'a line: {node.log}')


def test_what_failed_is_forgotten_with_the_clean_up(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt) as node:
        node.wait_for('ready: unconfigured')
        assert graph.change('configure'), node.log
        assert not graph.change('activate')  # nothing is published
        wait_until(lambda: 'not activated' in graph.reports[-1]['message'], 5, 'the reason')
        assert graph.change('cleanup')
        wait_until(lambda: graph.reports[-1]['message'] == 'unconfigured', 5, 'no reason')


def settings(**changes):
    values = {'max_age': 0.1, 'command_timeout': 0.15, 'control_rate': TASK.rate, **changes}
    return Settings(**values)


@pytest.mark.parametrize(
    ('changes', 'latency', 'simulated', 'refused'),
    [
        ({}, 0.02, False, 'command_timeout is 0.15 s'),  # 0.04 + 0.02 + 0.1
        ({'command_timeout': 0.17}, 0.02, False, ''),
        ({'command_timeout': 0.17, 'zmq_endpoint': 'x'}, 0.02, False, 'command_timeout is 0.17'),
        ({'inference': 'synchronous'}, 0.02, False, 'a tick leaves 10 ms'),
        ({'inference': 'synchronous'}, 0.01, False, ''),  # 0.01 + 0.02 + 0.1
        ({'inference': 'synchronous', 'command_timeout': 0.12}, 0.01, False, 'is 0.12 s'),
        ({'inference': 'synchronous', 'command_timeout': 0.13}, 3.0, True, ''),
        ({'inference': 'synchronous', 'command_timeout': 0.11}, 3.0, True, 'is 0.11 s'),
    ],
)
def test_a_time_out_that_normal_running_would_break_is_refused(
    changes, latency, simulated, refused
):
    def check():
        check_latency(settings(**changes), latency, 2.0, simulated=simulated)

    if not refused:
        check()
        return
    with pytest.raises(ParameterError, match=refused):
        check()
