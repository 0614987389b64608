"""The child of `act_ros.policy.process`: loads a policy and answers until its parent is gone.

It has two ends: the robot's, which is the parent's, and a guest's. One pass at a time, in turns:
an asynchronous robot always wants the next pass, so a guest who waited during one of them goes
before the next. Neither starves, and the robot waits for one pass of the guest's at most. Of two
who wait for a free model the one who was not served last is first.

The robot asks for its turn and says then what to predict from, so that this is the newest that
it has. The guest's observations lie in its buffers before it asks: it never has the model while
it does anything else.
"""

import importlib
import os
import select
import socket
import traceback

import numpy as np

from act_ros.errors import ActError, PolicyError, one_line
from act_ros.helper_process import Parent, ParentGoneError, begin
from act_ros.policy.buffers import PolicyInfo, SharedBuffers
from act_ros.policy.guest import LONGEST, SOURCE
from act_ros.policy.interface import HostedPolicy


class Guest:
    """The end of whoever shares the model with the robot, and is not to be trusted with it.

    :param ours: the socket to it. Each message comes whole, and nothing waits for it.
    :param buffers: its own.
    """

    def __init__(self, ours: socket.socket, buffers: SharedBuffers) -> None:
        self.socket = ours
        self._buffers = buffers

    def serve(self, policy: HostedPolicy) -> bool:
        """Run the pass that it has asked for; False where it is gone or makes no sense."""
        try:
            request = self.socket.recv(LONGEST, socket.MSG_DONTWAIT)
            count, rest = divmod(len(request), SOURCE.itemsize)
            if rest or not 1 <= count <= len(self._buffers.qpos):
                return False
            sources = np.frombuffer(request, SOURCE).tolist()
            self.socket.send(b'\0' + self._answer(policy, sources), socket.MSG_DONTWAIT)
        except OSError:  # also where it takes no answers
            return False
        return True

    def _answer(self, policy: HostedPolicy, sources: list[int]) -> bytes:
        buffers, count = self._buffers, len(sources)
        try:
            # What leads to no number is seen at the other end: the rest of the pass is good.
            observations = [buffers.observation(i) for i in range(count)]
            buffers.chunks[:count] = policy.forward(observations, sources)
        except Exception as error:
            error = _known(error)
            return f'{type(error).__name__}\n{one_line(error)}'.encode()[: LONGEST - 1]
        return b''


class Worker:
    """Answers the robot's requests and the guest's.

    :param robot: the parent.
    :param load: 'module:function' that loads the policy.
    """

    def __init__(self, robot: Parent, load: str) -> None:
        self._robot = robot
        self._guest: Guest | None = None
        self._load = load
        self._robot_was_last = False

    def run(self) -> None:
        """Answer until the parent is gone."""
        try:
            while True:
                robot, guest = self._wait()
                if robot and not (guest and self._robot_was_last):
                    self._serve_robot()
                    self._robot_was_last = True
                else:
                    self._serve_guest()
                    self._robot_was_last = False
        except ParentGoneError:
            return

    def _wait(self) -> tuple[bool, bool]:
        """Wait until the robot or the guest asks; a request stays in its socket until its turn."""
        asked = select.poll()
        asked.register(self._robot, select.POLLIN)
        if self._guest is not None:
            asked.register(self._guest.socket, select.POLLIN)
        found = {file for file, _ in asked.poll()}
        robot = self._robot.fileno() in found
        return robot, len(found) > robot

    def _serve_guest(self) -> None:
        guest = self._guest
        assert guest is not None  # it has asked
        if not guest.serve(self._policy):
            guest.socket.close()
            self._guest = None

    def _serve_robot(self) -> None:
        what, detail = self._robot.receive()
        try:
            answer = getattr(self, what)(detail)
        except ParentGoneError:
            raise
        except Exception as error:
            self._robot.send_error(_known(error))
        else:
            self._robot.send('done', answer)

    def load(self, detail: tuple[tuple, dict]) -> PolicyInfo:
        """Load the policy."""
        arguments, options = detail
        module, function = self._load.split(':')
        self._policy = policy = getattr(importlib.import_module(module), function)(
            *arguments, **options
        )
        self._info = PolicyInfo(
            policy.task, policy.chunk_size, policy.state_dim, policy.action_dim,
            policy.statistics, policy.about, policy.held,
        )  # fmt: skip
        return self._info

    def reset(self, _: None) -> None:
        """A new episode of the robot's begins."""
        self._policy.reset()

    def share(self, _: None) -> None:
        """Take the memory for the robot's observation."""
        self._buffers = self._take_buffers(1)

    def admit(self, count: int) -> None:
        """Take a guest's socket and its memory, in place of the guest before."""
        ours = socket.socket(fileno=self._robot.receive_file())
        if self._guest is not None:
            self._guest.socket.close()
        self._guest = Guest(ours, self._take_buffers(count))

    def turn(self, _: None) -> None:
        """Leave the model to the robot until it says what to predict from."""
        self._robot.send('done')
        what, _ = self._robot.receive()
        if what == 'predict':  # else it has thought better of it
            self._buffers.chunks[0] = self._policy.predict(*self._buffers.observation(0))

    def _take_buffers(self, count: int) -> SharedBuffers:
        file = self._robot.receive_file()
        try:
            return SharedBuffers(file, self._info, count)
        finally:
            os.close(file)


def _known(error: Exception) -> ActError:
    """An error that the other end knows; any other is told of here."""
    if isinstance(error, ActError):
        return error
    traceback.print_exception(error)
    return PolicyError(one_line(error))


def main() -> None:
    """Run the worker; the arguments come from `PolicyProcess`."""
    robot, (load, threads) = begin()
    if threads:  # else there is no network here, and perhaps no torch
        from act_ros.policy.policy import set_torch_threads

        set_torch_threads(int(threads))
    Worker(robot, load).run()
