"""Each fault, made for real over DDS; what is judged is the trace of the commands."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zmq
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from act_ros.observation import stamp_ns
from test.limits import limits_of, parameters
from test.nodes.graph import COMMANDS, JOINTS, MARGIN, SETTINGS, TICK, run_node
from test.processes import children
from test.waiting import wait_until

T = 1.0  # command_timeout [s]
# Without that of the tracking: the arm follows through this process, which may be held up.
BOUNDS = limits_of(SETTINGS)
LIMITS = parameters(JOINTS, **{
    name: getattr(BOUNDS, name)
    for name in ('min_position', 'max_position', 'max_step', 'max_velocity', 'max_acceleration')
})  # fmt: skip
# From full speed to rest.
BRAKING = max(np.divide(BOUNDS.max_velocity, BOUNDS.max_acceleration))
# Without fades: what is sent at rest is then no command of the policy, whose own velocities are
# never 0 all of them.
SAFE = {'command_timeout': T, 'stop_policy': 'hold', 'ramp_time': 0.3, 'fade': 0.0, **LIMITS}


@pytest.fixture
def robot(graph):
    """A robot that goes where it is told, and whose commands never left their limits."""
    graph.follows = True
    graph.jumps = False  # of speeds, where a test sees to one
    yield graph
    check_trace(graph.commands, jumps=graph.jumps)


def check_trace(commands, jumps=False):
    low, high = BOUNDS.min_position, BOUNDS.max_position
    for command in commands:
        assert np.isfinite([*command.position, *command.velocity]).all()
        assert (np.array(command.position) >= low).all()
        assert (np.array(command.position) <= high).all()
        assert (np.abs(command.velocity) <= BOUNDS.max_velocity + 1e-9).all()
    for before, after in itertools.pairwise(commands):
        # One that was lost on its way was a step too.
        ticks = max(1, round((stamp_ns(after) - stamp_ns(before)) / 1e9 / TICK) + 1)
        step = np.abs(np.array(after.position) - np.array(before.position))
        assert (step <= ticks * BOUNDS.max_step + 1e-9).all()
        change = np.abs(np.array(after.velocity) - np.array(before.velocity))
        allowed = ticks * TICK * BOUNDS.max_acceleration + 1e-9
        assert jumps or (change <= allowed).all()


def start(graph, node):
    graph.activate(node)
    flowing(graph)


def is_stop(command):
    return not np.any(command.velocity)


def flowing(graph, more=20):
    """Wait until that many further commands of the policy have come."""
    before = sum(not is_stop(command) for command in list(graph.commands))
    wait_until(
        lambda: sum(not is_stop(c) for c in list(graph.commands)) >= before + more, 20,
        f'{more} further commands',
    )  # fmt: skip


def stops(graph, since, within, more=20):
    """The policy's commands end in time; the stop policy brakes, and nothing follows it.

    :param since: when the fault was made [ns].
    :param within: seconds that are allowed.
    """

    def held() -> bool:
        newest = list(graph.commands)[-more:]
        return stamp_ns(newest[0]) > since and all(map(is_stop, newest))

    wait_until(held, 20, 'the stop policy')
    commands = list(graph.commands)
    begin = next(i for i, c in enumerate(commands) if stamp_ns(c) > since and is_stop(c))
    assert all(map(is_stop, commands[begin:]))
    moving, first = stamp_ns(commands[begin - 1]), stamp_ns(commands[begin])
    last = max(tick.stamp for tick in list(graph.ticks) if len(tick.action) and tick.stamp < first)
    assert (last - since) / 1e9 <= within + TICK
    assert (moving - last) / 1e9 <= BRAKING + TICK
    # A busy machine may keep the node from its ticks for a while: those that it had count.
    ticks = sum(moving < tick.stamp < first for tick in list(graph.ticks))
    assert ticks * TICK < MARGIN
    assert (first - since) / 1e9 < within + BRAKING + 0.5
    return commands[begin:]


def stays_stopped(graph, more=20):
    """So many further messages come, all of the stop policy."""
    before = len(graph.commands)
    wait_until(lambda: len(graph.commands) >= before + more, 20, f'{more} further messages')
    assert all(map(is_stop, graph.commands[before:]))


def told(graph, *words, **values):
    """Wait until a report says each of the words, and of each key what it is to say."""
    seen = len(graph.reports)

    def says(report) -> bool:
        return all(word in report['message'] for word in words) and all(
            text in report.get(key, '') for key, text in values.items()
        )

    wait_until(
        lambda: any(map(says, graph.reports[seen:])), 10,
        lambda: f'{words} and {values} in {graph.reports[seen:]}',
    )  # fmt: skip


def silence_arm(graph):
    graph.silent.add('arm')


def lose_joint(graph):
    graph.lacking.add('left_joint_3')


def break_joint(graph):
    graph.jam(2, np.nan)


def repeat_stamp(graph):
    graph.repeated['rgb_left'] = graph.now()


def change_size(graph):
    graph.image_size = (60, 80)


def mend(graph):
    graph.silent.clear()
    graph.lacking.clear()
    graph.repeated.clear()
    graph.image_size = (120, 160)
    if np.isnan(graph.robot).any():
        graph.robot = np.concatenate((graph.robot[:9], graph.commands[-1].position))
    graph.follows = True


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        (repeat_stamp, ('rgb_left is frozen',)),
        (silence_arm, ('arm is stale',)),
        (lose_joint, ('arm (left_joint_3) is stale',)),
        (break_joint, ('arm/left_joint_3/position is nan',)),
        (change_size, ('60x80 pixels, expected 120x160',)),
    ],
    ids=['frozen camera', 'silent arm', 'lost joint', 'joint is nan', 'other resolution'],
)
def test_a_broken_input_stops_and_a_good_one_begins_a_new_episode(
    robot, ckpt, tmp_path, fault, words
):
    with run_node(tmp_path, ckpt, **{**SAFE, 'recovery_window': 10.0}) as node:
        start(robot, node)
        episode = robot.ticks[-1].episode
        fault(robot)
        stops(robot, robot.now(), T + TICK)
        told(robot, *words)
        mend(robot)
        flowing(robot)
        assert robot.ticks[-1].episode > episode
        assert node.process.poll() is None


def test_after_the_recovery_window_only_reset_starts_again(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **{**SAFE, 'recovery_window': 0.5}) as node:
        start(robot, node)
        robot.silent.add('arm')
        stops(robot, robot.now(), T + TICK)
        node.wait_for('no commands until ~/reset')
        mend(robot)
        told(robot, 'only ~/reset starts again', control='stopped until reset')
        stays_stopped(robot)
        assert robot.reset().success
        flowing(robot)


# It only publishes: one that is killed while it uses the shared memory of others may hold up
# their messages for seconds, and this is seldom in there.
CAMERA = """
import time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera', start_parameter_services=False, enable_rosout=False)
publisher = node.create_publisher(Image, 'rgb_under/image_raw', qos_profile_sensor_data)
frame = Image(height=120, width=160, encoding='rgb8', step=480, data=bytes([80]) * 57600)
while True:
    frame.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(frame)
    time.sleep(0.02)
"""


def test_a_camera_process_is_killed_and_started_again(robot, ckpt, tmp_path):
    cameras = []

    def start_camera():
        cameras.append(subprocess.Popen([sys.executable, '-c', CAMERA]))

    try:
        start_camera()
        robot.silent.add('rgb_under')
        with run_node(tmp_path, ckpt, **{**SAFE, 'recovery_window': 30.0}) as node:
            start(robot, node)
            cameras[-1].kill()
            killed = robot.now()
            stops(robot, killed, T + TICK)
            told(robot, 'rgb_under is stale', '/rgb_under/image_raw is published by /')
            start_camera()
            flowing(robot)
    finally:
        for camera in cameras:
            camera.kill()
            camera.wait()


def test_a_blocked_arm_is_held_where_it_is_until_reset(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)

        def at_its_goal() -> bool:
            return np.ptp([c.position for c in list(robot.commands)[-20:]], axis=0).max() < 0.01

        # There, it is near its command however late it follows.
        wait_until(at_its_goal, 20, 'an arm at its goal')
        assert robot.set_parameters(parameters(JOINTS, max_tracking_error=[0.1] * 8)) == ''
        # Somewhere else, so that the plan goes on and the joint does not.
        there = robot.robot[9] + 0.3
        robot.jumps = True  # it stops at once
        robot.jam(0, there)
        held = stops(robot, robot.now(), 0.2 + MARGIN, more=60)
        assert np.abs(held[-1].position[0] - there) < 1e-6
        told(robot, 'arm/left_joint_1/position is at', 'commanded', 'only ~/reset')
        assert robot.reports[-1]['levels']['control'] == b'\x02'
        robot.follows = True
        stays_stopped(robot)
        assert robot.reset().success
        flowing(robot)


def slow(tmp_path, ckpt, environment, **parameters):
    return run_node(
        tmp_path, ckpt, module='test.nodes.slow_node', env=environment,
        **{**SAFE, 'recovery_window': 30.0, **parameters},
    )  # fmt: skip


def test_a_pass_of_three_seconds_stops_and_is_named(robot, ckpt, tmp_path):
    bad = tmp_path / 'bad'
    with slow(tmp_path, ckpt, {'PASS_SECONDS': '3', 'BAD_WHILE': str(bad)}) as node:
        start(robot, node)
        bad.touch()
        node.wait_for('passing slowly')
        stops(robot, robot.now(), T + TICK)
        told(robot, 'inference has been running for')
        bad.unlink()
        flowing(robot)


@pytest.mark.parametrize(
    ('kind', 'words'),
    [
        ('raise', 'inference: out of memory'),
        ('nan', 'not finite at action entry arm/left_joint_1/position'),
    ],
)
def test_inference_that_fails_stops_and_says_why(robot, ckpt, tmp_path, kind, words):
    bad = tmp_path / 'bad'
    with slow(tmp_path, ckpt, {'FAIL': kind, 'BAD_WHILE': str(bad)}) as node:
        start(robot, node)
        bad.touch()
        node.wait_for('failing')
        stops(robot, robot.now(), T + TICK)
        told(robot, words)
        bad.unlink()
        flowing(robot)


def test_a_synchronous_pass_that_hangs_stops_as_any_other(robot, ckpt, tmp_path):
    # Ten ticks a second: half of one leaves room for a busy machine.
    tick, bad = 0.1, tmp_path / 'bad'
    environment = {'PASS_SECONDS': '3', 'BAD_WHILE': str(bad), 'QUICK': '1'}
    parameters = {'inference': 'synchronous', 'control_rate': 1 / tick}
    with slow(tmp_path, ckpt, environment, **parameters) as node:
        start(robot, node)
        bad.touch()
        node.wait_for('passing slowly')
        stops(robot, robot.now(), T + 2 * tick)
        told(robot, 'inference has been running for')
        bad.unlink()
        flowing(robot)


def test_a_killed_inference_process_stops_and_is_named(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)
        (child,) = children(node.process.pid)
        os.kill(child, signal.SIGKILL)
        stops(robot, robot.now(), T + TICK)
        told(robot, 'the inference process was ended by SIGKILL', 'configure again')
        for transition in ('deactivate', 'cleanup'):
            assert robot.change(transition), f'{transition}: {node.log}'
        robot.configure(node)
        wait_until(lambda: robot.change('activate'), 20, lambda: f'activation: {node.log}')
        flowing(robot)


def test_a_parameter_set_to_nonsense_is_refused_and_nothing_stops(robot, ckpt, tmp_path):
    # Long, so that an input that comes late is no reason to stop.
    with run_node(tmp_path, ckpt, **{**SAFE, 'command_timeout': 5.0}) as node:
        start(robot, node)
        robot.commands.clear()
        assert 'is -1' in robot.set_parameter('ramp_time', -1.0) or 'range' in robot.set_parameter(
            'ramp_time', -1.0
        )
        first = 'joint_limits.left_joint_1.'
        assert 'arm/left_joint_1' in robot.set_parameter(f'{first}max_step', -0.1)
        assert 'expected a number' in robot.set_parameter(f'{first}max_velocity', [1.0] * 3)
        assert robot.set_parameter(f'{first}max_position', -50.0)
        # One that does not fit refuses those beside it.
        assert robot.set_parameters({'decay': 0.3, 'range_tolerance': -1.0})
        flowing(robot)
        assert not any(map(is_stop, robot.commands))


def test_limits_take_effect_while_it_moves(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)
        robot.jumps = True  # a lower limit is kept at once
        assert robot.set_parameters(
            parameters(JOINTS, max_velocity=[0.05] * 8, max_step=[0.001] * 8)
        ) == ''
        since = robot.now()
        flowing(robot)
        later = [c for c in list(robot.commands) if stamp_ns(c) > since]
        assert np.abs([c.velocity for c in later]).max() <= 0.05 + 1e-9
        # A range that the last command violates is refused by name.
        now = robot.commands[-1].position[0]
        refusal = robot.set_parameter('joint_limits.left_joint_1.min_position', now + 0.5)
        assert 'arm/left_joint_1/position' in refusal


def test_a_second_publisher_is_a_warning(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)
        rival = robot.node.create_publisher(JointState, COMMANDS, 1)
        told(robot, '1 other publisher(s) on /arm/joint_commands')
        robot.node.destroy_publisher(rival)
        told(robot, 'active; all inputs are fresh')
        flowing(robot)


def test_the_deadman(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE, enable_topic='enable') as node:
        robot.configure(node)
        robot.stream()
        deadman = robot.node.create_publisher(Bool, 'enable', 1)
        wait_until(lambda: robot.change('activate'), 20, f'activation: {node.log}')
        told(robot, 'has said nothing')
        assert not robot.commands
        pressed, held = [True], [True]

        def press() -> None:
            if held[0]:
                deadman.publish(Bool(data=pressed[0]))

        timer = robot.node.create_timer(0.05, press)
        flowing(robot)
        pressed[0] = False
        stops(robot, robot.now(), 0.05 + MARGIN)
        pressed[0] = True
        flowing(robot)
        held[0] = False
        stops(robot, robot.now(), 0.2 + MARGIN)
        held[0] = True
        flowing(robot)
        robot.node.destroy_timer(timer)


def test_a_dry_run_says_nothing_to_the_robot(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE, dry_run=True) as node:
        shadow = []
        robot.node.create_subscription(
            JointState, f'/act/dry_run/{COMMANDS}', shadow.append, 10
        )
        robot.activate(node)
        wait_until(lambda: len(shadow) > 30, 20, 'shadow commands')
        assert not robot.commands
        assert robot.node.count_publishers(f'/{COMMANDS}') == 0
        assert 'fixed while configured' in robot.set_parameter('dry_run', False)
        check_trace(shadow)


def test_deactivation_ends_with_the_stop_policys_message(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)
        assert robot.change('deactivate')
        wait_until(lambda: is_stop(robot.commands[-1]), 5, 'the last message')
        count = len(robot.commands)
        time.sleep(0.2)  # nothing may come in this time
        assert len(robot.commands) == count
        assert not is_stop(robot.commands[-2])


def test_sigint_ends_with_the_stop_policys_message(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE) as node:
        start(robot, node)
        sent = robot.now()
        assert node.stop(signal.SIGINT) < 2
        assert node.process.returncode == 0
        wait_until(lambda: is_stop(robot.commands[-1]), 5, 'the last message')
        planned = max(tick.stamp for tick in robot.ticks if len(tick.action))
        first = min(stamp_ns(c) for c in robot.commands if stamp_ns(c) > planned)
        assert (first - sent) / 1e9 < 0.1 + TICK + MARGIN
        assert (stamp_ns(robot.commands[-1]) - first) / 1e9 < BRAKING + MARGIN


def test_a_command_timeout_that_the_model_cannot_keep_is_refused(graph, ckpt, tmp_path):
    environment = {'PASS_SECONDS': '0.3'}
    with slow(tmp_path, ckpt, environment, command_timeout=0.5) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        node.wait_for('command_timeout is 0.5 s, but a pass takes 0.')
        told(graph, 'command_timeout is 0.5 s')


def test_a_taken_zmq_port_fails_the_configuration_by_name(graph, ckpt, tmp_path):
    with zmq.Context() as context, context.socket(zmq.REP) as other:
        port = other.bind_to_random_port('tcp://127.0.0.1')
        endpoint = f'tcp://127.0.0.1:{port}'
        with run_node(tmp_path, ckpt, **SAFE, zmq_endpoint=endpoint) as node:
            node.wait_for('ready: unconfigured')
            assert not graph.change('configure')
            node.wait_for(f'address in use: {endpoint}')
            told(graph, 'address in use')
            other.unbind(endpoint)
            wait_until(lambda: graph.change('configure'), 20, f'configuration: {node.log}')
            assert 'Traceback' not in node.log


def test_a_task_without_limits_is_refused_by_name(graph, ckpt, tmp_path):
    lacking = {**SAFE, 'joint_limits.left_joint_7.has_position_limits': False}
    with run_node(tmp_path, ckpt, **lacking) as node:
        node.wait_for('ready: unconfigured')
        assert not graph.change('configure')
        said = node.wait_for('not configured')
        assert 'arm/left_joint_7/position has no min_position: set joint_limits.left_j' in said
        assert 'left_joint_7.has_position_limits to true, or list' in said


def test_a_joint_outside_its_range_refuses_activation_by_name(graph, ckpt, tmp_path):
    graph.robot[10] = 1.5  # left_joint_2 ends at 1.2
    with run_node(tmp_path, ckpt, **SAFE) as node:
        graph.configure(node)
        graph.stream()

        def refused() -> bool:
            graph.change('activate')
            return 'arm/left_joint_2/position' in node.log

        wait_until(refused, 20, 'the refusal')
        assert graph.state() == 'inactive'
        assert not graph.commands


def usage(pid):
    process = Path(f'/proc/{pid}')
    lines = (process / 'status').read_text().splitlines()
    fields = dict(line.split(':', 1) for line in lines)
    files = len(list((process / 'fd').iterdir()))
    return int(fields['Threads']), files, int(fields['VmRSS'].split()[0]) / 1024


def test_a_thousand_cycles_leave_nothing_behind(graph, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE, publish_tick=False) as node:
        start(graph, node)
        for cycle in range(1000):
            assert graph.change('deactivate')
            wait_until(lambda: graph.change('activate'), 20, f'activation {cycle}: {node.log}')
            assert graph.reset().success
            graph.commands.clear()
            if cycle == 10:
                threads, files, memory = usage(node.process.pid)

        def as_before() -> bool:
            now = usage(node.process.pid)
            return now[0] <= threads + 1 and now[1] <= files and now[2] < memory + 20

        # What the last cycle had may still be on its way out.
        wait_until(
            as_before, 10,
            lambda: f'{usage(node.process.pid)} to be as {threads, files, memory}',
        )  # fmt: skip


def test_a_clock_that_jumps_back_drops_the_plan_and_begins_a_new_episode(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **SAFE, use_sim_time=True) as node:
        robot.configure(node)
        timer = robot.node.create_timer(0.01, lambda: robot.publish_clock(robot.now()))
        robot.stream()
        wait_until(lambda: robot.change('activate'), 20, f'activation: {node.log}')
        flowing(robot)
        robot.shift = -100_000_000_000
        wait_until(lambda: stamp_ns(robot.commands[-1]) < robot.now() + 10**9, 10, 'a command')
        # None after the jump is from a chunk of before it.
        jumped = robot.now() - 10**9
        told(robot, last_stop='the clock jumped by -')
        flowing(robot)
        last = max(t.episode for t in robot.ticks)
        ticks = [t for t in robot.ticks if t.episode == last and len(t.action)]
        assert all(stamp < jumped + 60 * 10**9 for t in ticks for stamp in t.stamps.values())
        assert last > robot.ticks[0].episode
        assert min(t.step for t in ticks) < 100
        robot.node.destroy_timer(timer)


def test_a_clock_that_stands_still_stops_in_steady_time(robot, ckpt, tmp_path):
    with run_node(tmp_path, ckpt, **{**SAFE, 'recovery_window': 10.0}, use_sim_time=True) as node:
        robot.configure(node)
        running = [True]

        def tick() -> None:
            if running[0]:
                robot.publish_clock(robot.now())

        timer = robot.node.create_timer(0.01, tick)
        robot.stream()
        wait_until(lambda: robot.change('activate'), 20, f'activation: {node.log}')
        flowing(robot)
        running[0] = False
        wait_until(lambda: is_stop(robot.commands[-1]), 20, 'the stop policy')
        now = robot.now()
        # As soon as the observation behind the newest chunk was too old, and not before.
        newest = max(robot.ticks[-1].chunk_steps)
        asked = next(tick for tick in reversed(robot.ticks) if tick.step == newest)
        assert T <= (now - min(asked.stamps.values())) / 1e9 < T + BRAKING + TICK + MARGIN
        stays_stopped(robot)
        told(robot, 'the clock stands still')
        running[0] = True
        flowing(robot)
        robot.node.destroy_timer(timer)
