"""The node over DDS: lifecycle, inputs by name, faults, commands."""

import os
import signal
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus

from act_ros.bridge.client import PolicyClient
from act_ros.observation import stamp_ns
from act_ros.policy import Rollout, load_policy
from test.nodes.graph import JOINTS, MARGIN, TASK, TICK, run_node
from test.policy.test_aggregation import naive
from test.processes import children
from test.rule import small_config, vector, write_random
from test.waiting import wait_until

COMMANDS = 20  # enough of them to say that they flow


def flowing(graph, more=COMMANDS):
    """Wait until that many further commands have come."""
    before = len(graph.commands)
    wait_until(lambda: len(graph.commands) >= before + more, 20, f'{more} further commands')


def silent(graph, seconds=0.5):
    """Whether nothing comes for a while."""
    before = len(graph.commands)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(graph.commands) > before:
            return False
        time.sleep(0.01)
    return True


def test_commands_are_positions_and_velocities_of_the_named_joints(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt) as node:
        graph.activate(node)
        flowing(graph)
        command = graph.commands[-1]
        assert list(command.name) == JOINTS
        assert len(command.position) == len(command.velocity) == 8
        tick = next(t for t in reversed(graph.ticks) if len(t.action))
        assert tick.action.shape == (16,)
        wanted = [tuple(t.action) for t in list(graph.ticks) if len(t.action)]

        def sent() -> bool:
            commands = {(*c.position, *c.velocity) for c in list(graph.commands)}
            # Depth 1 may lose one to the next on its way.
            return sum(each in commands for each in wanted) >= len(wanted) - 2

        wait_until(sent, 5, 'the command of every tick')
        assert abs(stamp_ns(command) - graph.now()) < 2e9
        assert node.stop() < 2
        assert node.process.returncode == 0


def test_activation_never_waits_and_names_every_input_that_is_missing(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt) as node:
        graph.configure(node)
        graph.stream(cameras=TASK.cameras[1:])
        wait_until(graph.matched, 10, 'the node to hear the inputs')
        assert not graph.change('activate')
        assert graph.state() == 'inactive'
        line = node.wait_for('not activated')
        assert 'rgb_main has not arrived' in line
        assert not graph.commands


def test_autostart_tries_again_and_says_why_once(graph, ckpt, tmp_path):
    # Whatever else is late on a busy machine would be another reason.
    with run_node(tmp_path, ckpt, autostart=True, max_age=2.0) as node:
        graph.stream(cameras=TASK.cameras[1:])
        node.wait_for('not activated: rgb_main has not arrived')
        # Some more tries, counted by the diagnostics that each second brings.
        seen = len(graph.reports)
        wait_until(lambda: len(graph.reports) >= seen + 3, 10, 'three more seconds')
        because = '/rgb_main/image_raw is published by /robot_of_the_test'
        assert node.log.count(f'not activated: rgb_main has not arrived: {because}') == 1
        graph.stop_streams()
        graph.stream()
        flowing(graph)


def test_deactivation_ends_the_commands_and_activation_begins_a_new_episode(
    graph, ckpt, tmp_path
):
    with run_node(tmp_path, ckpt) as node:
        graph.activate(node)
        flowing(graph)
        assert graph.change('deactivate')
        inactive = graph.now()
        assert graph.state() == 'inactive'
        wait_until(lambda: silent(graph), 5, 'silence')
        assert max(graph.command_stamps()) <= inactive
        graph.ticks.clear()
        wait_until(lambda: graph.change('activate'), 20, lambda: f'activation: {node.log}')
        flowing(graph)
        assert graph.ticks[0].step == 0
        assert graph.change('deactivate')
        assert graph.change('cleanup')
        assert graph.state() == 'unconfigured'
        graph.configure(node)
        wait_until(lambda: graph.change('activate'), 20, 'activation')
        flowing(graph)


def test_the_decay_is_set_live_and_all_else_is_fixed(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt) as node:
        graph.activate(node)
        assert graph.set_parameter('decay', 0.5) == ''
        assert 'out of range' in graph.set_parameter('decay', -11.0)
        assert 'fixed while configured' in graph.set_parameter('max_age', 2.0)
        assert 'fixed while configured' in graph.set_parameter('use_sim_time', True)
        flowing(graph)
        tick = next(t for t in reversed(graph.ticks) if len(t.chunk_steps) > 1)
    # The same input all the time makes the same chunk at every step.
    policy = load_policy(ckpt, device='cpu')
    images = dict.fromkeys(TASK.cameras, np.full((120, 160, 3), 80, np.uint8))
    chunk = policy.predict(np.zeros(17, np.float32), images)
    expected = naive(dict.fromkeys(tick.chunk_steps, chunk), len(chunk), tick.step, 0.5)
    np.testing.assert_allclose(tick.action, expected, rtol=0, atol=1e-5)


def test_reset_begins_a_new_episode(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt) as node:
        node.wait_for('ready: unconfigured')
        reply = graph.reset()
        assert not reply.success
        assert 'not active' in reply.message
        graph.activate(node)
        wait_until(lambda: graph.ticks and graph.ticks[-1].step >= 200, 20, 'a late step')
        before = graph.ticks[-1]
        assert graph.reset().success
        wait_until(lambda: graph.ticks[-1].episode == before.episode + 1, 5, 'the next episode')
        first = next(t for t in graph.ticks if t.episode == before.episode + 1)
        assert first.step == 0
        assert first.chunk_steps == []
        flowing(graph)
        # No chunk of the episode before plays on: each that counts was asked for in this one.
        this = [t for t in graph.ticks if t.episode == first.episode]
        asked = {t.step for t in this if t.stamps}
        assert all(asked.issuperset(t.chunk_steps) for t in this)
        # The first plan of the episode is from its beginning, not from where the last one was.
        assert next(t for t in this if t.chunk_steps).chunk_steps[0] < 100


def silenced(graph, since, timeout):
    """Wait for silence; none of the commands may be later than the time-out allows."""
    wait_until(lambda: silent(graph), 20, 'silence')
    last = (max(graph.command_stamps()) - since) / 1e9
    # Not at once either: the plan goes on until its observation is too old.
    assert timeout - 0.4 < last < timeout + 0.2


def test_a_joint_that_is_not_a_number_silences_and_recovery_is_a_new_episode(
    graph, ckpt, tmp_path
):
    with run_node(tmp_path, ckpt, command_timeout=1.0) as node:
        graph.activate(node)
        flowing(graph)
        episode = graph.ticks[-1].episode
        graph.robot = np.full(17, np.nan)
        silenced(graph, graph.now(), timeout=1.0)
        node.wait_for('position is nan, expected a number')
        said = 'no commands: the newest observation behind the commands is '
        age = node.wait_for(said).split(said)[1].split()[0]
        assert 1.0 <= float(age) < 1.0 + TICK + MARGIN
        wait_until(lambda: 'is nan' in graph.reports[-1]['message'], 5, 'a report')
        graph.robot = np.zeros(17)
        flowing(graph)
        assert graph.ticks[-1].episode == episode + 1
        assert np.isfinite([c.position for c in graph.commands]).all()


def test_a_camera_that_stops_silences(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, command_timeout=1.0) as node:
        graph.activate(node)
        flowing(graph)
        graph.stop_streams()
        stopped = graph.now()
        graph.stream(cameras=TASK.cameras[:2])
        silenced(graph, stopped, timeout=1.0)
        node.wait_for('rgb_under is stale')


def test_the_zmq_endpoint_has_an_episode_of_its_own(graph, ckpt, tmp_path):
    reference = vector('small')
    rollout = Rollout(load_policy(ckpt, device='cpu'))
    with run_node(tmp_path, ckpt, zmq_endpoint='tcp://127.0.0.1:*') as node:
        graph.activate(node)
        flowing(graph)
        endpoint = node.wait_for('serving ZMQ on ').split()[-1]
        with PolicyClient(endpoint, timeout=10) as client:
            for i in range(5):
                action = client.act(*reference.observation(i))
                expected = rollout.act(*reference.observation(i))
                np.testing.assert_allclose(action, expected, rtol=0, atol=1e-5)
            client.reset()
            action = client.act(*reference.observation(0))
            rollout.reset()
            expected = rollout.act(*reference.observation(0))
            np.testing.assert_allclose(action, expected, rtol=0, atol=1e-5)
        assert len({t.episode for t in graph.ticks}) == 1
        flowing(graph)
        wait_until(lambda: graph.reports[-1].get('zmq_requests') == '7', 5, 'the count')
        assert graph.change('deactivate') and graph.change('cleanup')
        with PolicyClient(endpoint, timeout=0.3) as client:
            wait_until(lambda: not answers(client), 5, 'the endpoint to be gone')


def test_an_endpoint_whose_process_is_killed_costs_no_command_and_comes_back(
    graph, ckpt, tmp_path
):
    with run_node(tmp_path, ckpt, zmq_endpoint='tcp://127.0.0.1:*') as node:
        graph.activate(node)
        endpoint = node.wait_for('serving ZMQ on ').split()[-1]
        flowing(graph)
        episode, overruns = graph.ticks[-1].episode, graph.reports[-1].get('tick_overruns', '0')
        (child,) = (p for p in children(node.process.pid) if 'act_ros.bridge.child' in command(p))
        os.kill(child, signal.SIGKILL)
        fault = f'{endpoint} is not served (the ZMQ endpoint was ended by SIGKILL)'
        wait_until(
            lambda: fault in graph.reports[-1]['message']
            and graph.reports[-1]['levels']['zmq'] == DiagnosticStatus.WARN,
            5, lambda: f'a warning: {graph.reports[-1]}',
        )  # fmt: skip
        node.wait_for(fault)
        node.wait_for(f'serving ZMQ on {endpoint} again')
        with PolicyClient(endpoint, timeout=10) as client:
            client.act(*vector('small').observation(0))
        wait_until(lambda: graph.reports[-1].get('zmq_restarts') == '1', 5, 'the count')
        assert graph.reports[-1]['levels']['zmq'] == DiagnosticStatus.OK
        flowing(graph)
        assert {t.episode for t in graph.ticks} == {episode}
        assert int(graph.reports[-1]['tick_overruns']) - int(overruns) <= 5  # of some 200


def command(pid: int) -> str:
    return Path(f'/proc/{pid}/cmdline').read_text().replace('\0', ' ')


def answers(client) -> bool:
    try:
        client.reset()
    except Exception:
        return False
    return True


def test_a_slow_model_leaves_one_command_a_tick_each_the_formula_of_what_had_arrived(
    graph, tmp_path
):
    folder = tmp_path / 'ckpt'
    k = 100
    write_random(folder, small_config(chunk_size=k), image_size=[120, 160])
    environment = {'PASS_SECONDS': '0.2'}  # ten ticks
    history = {}

    def qpos(stamp: int) -> np.ndarray:
        history[stamp] = np.full(17, (stamp / 1e9) % 10 / 10, np.float32)
        return history[stamp]

    with run_node(
        tmp_path, folder, module='test.nodes.slow_node', env=environment
    ) as node:
        graph.configure(node)
        graph.stream(qpos=qpos)
        wait_until(lambda: graph.change('activate'), 20, f'activation: {node.log}')
        flowing(graph, 100)
        assert graph.change('deactivate')
    ticks = [t for t in graph.ticks if t.episode == 1]
    by_step = {t.step: t for t in ticks}
    first = next(i for i, t in enumerate(ticks) if len(t.action))
    assert ticks[first].step >= 8
    assert all(len(t.action) for t in ticks[first:])
    assert [t.step for t in ticks] == sorted({t.step for t in ticks})

    policy = load_policy(folder, device='cpu')
    images = dict.fromkeys(TASK.cameras, np.full((120, 160, 3), 80, np.uint8))
    used = sorted({step for t in ticks for step in t.chunk_steps})
    assert len(used) >= 5
    chunks = {}
    for step in used:
        stamps = by_step[step].stamps
        # Base and arm are published with one stamp, but may be read between the two.
        state = history[stamps['base']].copy()
        state[9:] = history[stamps['arm']][9:]
        chunks[step] = policy.predict(state, images)
    for tick in ticks[first:]:
        arrived = {step: chunks[step] for step in tick.chunk_steps}
        expected = naive(arrived, k, tick.step, 0.01)
        np.testing.assert_allclose(tick.action, expected, rtol=0, atol=1e-5)
    # Every command that came is that of a tick; the deactivation may come between the last one
    # and what its tick says.
    actions = {tuple(t.action) for t in ticks}
    assert all((*c.position, *c.velocity) in actions for c in graph.commands[:-1])
    # Depth 1 may lose one to the next on its way; the node has sent one a tick.
    assert len(ticks[first:]) * 0.95 <= len(graph.commands) <= len(ticks[first:]) + 1
