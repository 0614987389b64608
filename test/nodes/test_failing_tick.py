"""What the robot is told when the control tick itself fails, or its terminal is blocked."""

import os
import signal
import subprocess
import threading

import numpy as np
from std_msgs.msg import Float64MultiArray

from act_ros.observation import stamp_ns
from test.nodes import graph as graphs
from test.nodes.graph import MARGIN, TICK, NodeProcess, run_node
from test.nodes.test_faults import (
    BRAKING,
    SAFE,
    T,
    flowing,
    is_stop,
    robot,
    start,
    stays_stopped,
    told,
)
from test.waiting import wait_until

__all__ = ['robot']


def first_stop(robot, since):
    """When the first stop message was sent after a fault [s]; it brakes, and others follow."""

    def found():
        return [c for c in list(robot.commands) if stamp_ns(c) > since and is_stop(c)]

    rest = stamp_ns(wait_until(found, 10, 'a stop message')[0])
    planned = max(t.stamp for t in list(robot.ticks) if len(t.action) and t.stamp < rest)
    first = next(stamp_ns(c) for c in list(robot.commands) if stamp_ns(c) > planned)
    assert (rest - first) / 1e9 < BRAKING + MARGIN
    return (first - since) / 1e9


def only_stop(robot, since, episode):
    """When the one stop message was sent between two episodes [s]."""

    def begun():
        return [t.stamp for t in list(robot.ticks) if t.episode > episode]

    began = wait_until(begun, 10, 'a new episode')[0]
    ended = max(t.stamp for t in list(robot.ticks) if t.episode == episode)
    # A tick tells of itself after its command, and of one that failed nothing is told.
    stop, _ = (stamp_ns(c) for c in list(robot.commands) if ended < stamp_ns(c) < began)
    return (stop - since) / 1e9


def test_whatever_fails_in_the_tick_the_stop_message_is_sent_at_once(robot, ckpt, tmp_path):
    fault = tmp_path / 'fault'
    velocities = []
    parameters = {
        **SAFE,
        'recovery_window': 30.0,
        'outputs': ['arm/joint_commands JointState',
                    'arm/velocities Float64MultiArray arm/*/velocity'],
    }  # fmt: skip
    with run_node(
        tmp_path, ckpt, module='test.nodes.failing_node', env={'FAULT': str(fault)}, **parameters
    ) as node:
        robot.node.create_subscription(
            Float64MultiArray, 'arm/velocities', lambda m: velocities.append(m.data), 10
        )
        start(robot, node)

        def fail(kind):
            since = robot.now()
            fault.write_text(kind)
            return since

        # One failure: the stop message at that very tick, and an episode that begins by itself.
        episode = robot.ticks[-1].episode
        assert only_stop(robot, fail('once'), episode) < TICK + MARGIN
        flowing(robot)
        assert robot.ticks[-1].episode == episode + 1
        node.wait_for("KeyError: 'left_joint_3'")
        node.wait_for('Traceback')

        for kind, words in (
            ('raise', "the control tick failed: KeyError: 'left_joint_3'"),
            ('exit', 'the control tick failed: SystemExit'),
            ('publish', 'the control tick failed: RuntimeError: publisher is gone'),
        ):
            assert first_stop(robot, fail(kind)) < TICK + MARGIN
            told(robot, words, '3 ticks have failed', control='stopped until reset')
            assert robot.reports[-1]['levels']['control'] == b'\x02'
            stays_stopped(robot)
            assert not np.any(velocities[-1])
            fault.unlink()
            stays_stopped(robot)
            assert robot.reset().success
            flowing(robot)

        # Another thread notices, and the one that comes back sends nothing of its old tick.
        assert first_stop(robot, fail('stuck')) < 0.25 + 2 * TICK + 2 * MARGIN
        stays_stopped(robot)
        node.wait_for('the control tick is back')
        flowing(robot)
        node.wait_for('the control tick has stood still for 0.')

        assert first_stop(robot, fail('dead')) < 0.25 + 2 * TICK + 2 * MARGIN
        told(robot, "the control tick's thread has ended")
        assert robot.reports[-1]['levels']['control'] == b'\x02'
        assert float(robot.reports[-1]['tick_age_s']) > 0.2
        stays_stopped(robot)
        assert not np.any(velocities[-1])
        reset = robot.reset()
        assert not reset.success and 'deactivate' in reset.message
        fault.unlink()
        assert robot.change('deactivate')
        assert robot.change('activate')
        flowing(robot)


class Terminal(NodeProcess):
    """A node whose output goes into a pipe that is read until it is blocked."""

    def __init__(self, log, module, arguments, *, python, **env):
        self._log = log
        self._file = log.open('w')
        self._read, self._write = os.pipe()
        self._blocked = threading.Event()
        self.process = subprocess.Popen(
            [python, '-m', module, *arguments],
            stdout=self._write, stderr=subprocess.STDOUT, env={**os.environ, **env},
        )  # fmt: skip
        os.set_blocking(self._read, False)
        self._reader = threading.Thread(target=self._copy, daemon=True)
        self._reader.start()

    def _copy(self):
        while not self._blocked.wait(0.01):
            try:
                self._file.write(os.read(self._read, 65536).decode())
                self._file.flush()
            except BlockingIOError:
                continue

    def block(self):
        """From now on nobody reads, and there is no room left."""
        self._blocked.set()
        self._reader.join()
        os.set_blocking(self._write, False)
        try:
            while True:
                os.write(self._write, b'x')
        except BlockingIOError:
            os.set_blocking(self._write, True)

    def close(self):
        self._blocked.set()
        super().close()
        os.close(self._read)
        os.close(self._write)


def test_a_blocked_terminal_delays_neither_the_stop_message_nor_the_end(
    robot, ckpt, tmp_path, monkeypatch
):
    monkeypatch.setattr(graphs, 'NodeProcess', Terminal)
    with run_node(tmp_path, ckpt, **{**SAFE, 'recovery_window': 30.0}) as node:
        start(robot, node)
        node.block()
        for _ in range(3):
            since = robot.now()
            robot.silent.add('arm')
            assert first_stop(robot, since) < T + 2 * TICK + MARGIN
            told(robot, 'arm is stale')
            robot.silent.clear()
            flowing(robot)
        assert node.stop(signal.SIGINT) < 2
        assert node.process.returncode == 0
        wait_until(lambda: is_stop(robot.commands[-1]), 5, 'the last message')
