"""A gripper that is commanded by the goals of an action."""

import logging
import threading
import time
from typing import Any

from rclpy.action import ActionClient  # type: ignore[attr-defined]
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from rclpy.task import Future

from act_ros.commands import OutputSpec
from act_ros.nodes.message_classes import message_class

log = logging.getLogger(__name__)

PERIOD = 0.1  # between goals, at least [s]
PATIENCE = 2.0  # with an answer to a goal [s]
# Where no command has come for as long, none is sent any more, and somebody else may have moved
# the gripper meanwhile [s].
FORGET = 1.0


class GripperGoals:
    """Makes goals of commands: the newest one, where it differs from the last goal.

    `publish` is called by the control tick and only remembers; goals are sent by a timer, in
    steady time. A new goal takes the place of the one before, as such servers have it.

    :param node: makes the client.
    :param spec: its topic is the action's name; its option `tolerance` says what is no new goal.
    :raises ParameterError: the package of the action is not installed.
    """

    def __init__(self, node: Node, spec: OutputSpec) -> None:
        action = message_class(spec.output_type.action)
        self._goal_class: Any = action.Goal  # type: ignore[attr-defined]
        self._tolerance = spec.options['tolerance']
        self.name = node.resolve_topic_name(spec.topic)
        self._lock = threading.Lock()
        self._wanted: tuple[float, float] | None = None
        self._heard = 0.0
        self._goal: tuple[float, float] | None = None
        self._asked: Future | None = None
        self._asked_at = 0.0
        self._fault = ''
        group = MutuallyExclusiveCallbackGroup()
        self._client: ActionClient = ActionClient(node, action, spec.topic, callback_group=group)
        self._timer = node.create_timer(
            PERIOD, self._send, callback_group=group, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._node = node

    @property
    def fault(self) -> str:
        """Why commands do not become goals, or ''."""
        return self._fault

    def publish(self, message: Any) -> None:
        """Take in a command; waits for nothing."""
        now = time.monotonic()
        with self._lock:
            if now - self._heard > FORGET:
                self._goal = None
            self._wanted, self._heard = (message.position, message.max_effort), now

    def close(self) -> None:
        """Send no further goals."""
        self._node.destroy_timer(self._timer)
        self._client.destroy()

    def _send(self) -> None:
        now = time.monotonic()
        with self._lock:
            wanted, heard = self._wanted, self._heard
        if wanted is None or now - heard > FORGET:
            return  # who does not command any more has no wishes
        if not self._client.server_is_ready():
            self._ask_again()  # one that begins anew knows nothing of the last goal
            self._tell(f'no server of the action {self.name}: the gripper gets no commands')
            return
        if self._asked is not None:
            if now - self._asked_at < PATIENCE:
                return
            self._ask_again()
            self._tell(f'the server of {self.name} does not answer')
        with self._lock:
            last = self._goal
            if last is not None and abs(wanted[0] - last[0]) <= self._tolerance:
                return
            self._goal = wanted
        goal = self._goal_class()
        goal.command.position, goal.command.max_effort = wanted
        self._asked_at = now
        self._asked = self._client.send_goal_async(goal)
        self._asked.add_done_callback(self._on_answer)

    def _ask_again(self) -> None:
        """The last goal did not arrive, or is not known any more."""
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()  # which removes it from the client
        with self._lock:
            self._goal = None

    def _on_answer(self, answer: Future) -> None:
        if answer is not self._asked:
            return
        self._asked = None
        handle = None if answer.exception() is not None else answer.result()
        if handle is not None and handle.accepted:
            self._tell('')
            return
        self._tell(f'the server of {self.name} rejects goals')
        self._ask_again()  # at the timer's pace

    def _tell(self, fault: str) -> None:
        """Once when it begins, and once when it ends."""
        if fault and fault != self._fault:
            log.warning('%s', fault)
        elif self._fault and not fault:
            log.info('%s takes goals again', self.name)
        self._fault = fault
