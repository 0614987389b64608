"""`~/run` and `~/return_to_start`: activations that a behaviour tree or an operator asks for.

A goal activates the node, and deactivates it when it ends: so between two runs it commands
nothing, and each has all the checks of an activation. One goal at a time.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Duration
from rclpy.action import ActionServer, CancelResponse, GoalResponse  # type: ignore[attr-defined]
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.task import Future

from act_ros.control import State
from act_ros.control.path import PathPolicy
from act_ros.errors import ActError, ParameterError
from act_ros.nodes.controller import Controller
from act_ros.nodes.message_classes import message_class

if TYPE_CHECKING:
    from act_ros.nodes.act_node import ActNode

log = logging.getLogger(__name__)

LOOK = 0.1  # between two looks, each with feedback [s]


@dataclass
class _Run:
    """A goal that is carried out.

    :ivar began: when [s, steady].
    :ivar controller: of its activation.
    :ivar done: gets what it ended with: an outcome and a text.
    :ivar way: to the start pose.
    """

    handle: Any
    to_start: bool
    limit: float
    began: float
    done: Future
    controller: Controller | None = None
    way: PathPolicy | None = None


class RunServers:
    """The two actions, where their interface package is installed.

    All of it happens in the node's executor; nothing waits.
    """

    def __init__(self, node: 'ActNode') -> None:
        self._node = node
        self._current: _Run | None = None
        self._servers: list[ActionServer] = []
        try:
            self._type: Any = message_class('act_ros_interfaces/action/Run')
        except ParameterError as error:
            log.info('no ~/run: %s', error)
            return
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(LOOK, self._look, clock=clock)
        self._servers = [
            ActionServer(
                node, self._type, name, self._executor_of(to_start), goal_callback=self._on_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            )
            for name, to_start in (('~/run', False), ('~/return_to_start', True))
        ]  # fmt: skip

    def close(self) -> None:
        """Take the servers away."""
        for server in self._servers:
            server.destroy()
        self._servers = []

    def _on_goal(self, goal: Any) -> GoalResponse:
        if self._current is not None:
            log.warning('a goal of ~/run is refused: another one is carried out')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _executor_of(self, to_start: bool) -> Callable[[Any], Any]:
        async def execute(handle: Any) -> Any:
            wanted = handle.request.max_duration
            limit = wanted.sec + wanted.nanosec / 1e9
            run = _Run(handle, to_start, limit, time.monotonic(), Future())
            outcome, text = self._begin(run)
            if not outcome:
                ended = await run.done
                assert ended is not None  # it is set once, in `_finish`
                outcome, text = ended
            return self._result(run, outcome, text)

        return execute

    def _begin(self, run: _Run) -> tuple[int, str]:
        """Activate; an outcome and a text where that is not possible, or 0 and ''."""
        results = self._type.Result
        if self._current is not None:  # accepted at the same time
            return results.NOT_STARTED, 'another goal is carried out'
        if not run.limit > 0:
            return results.NOT_STARTED, f'max_duration is {run.limit:g} s, expected more than 0'
        try:
            run.way = self._node.way_to_start() if run.to_start else None
            trouble = self._node.activate_with(run.way)
        except ActError as error:
            trouble = str(error)
        if trouble:
            return results.NOT_STARTED, trouble
        run.controller, self._current = self._node.controller, run
        log.info('%s for at most %g s', 'to the start pose' if run.to_start else 'run', run.limit)
        return 0, ''

    def _look(self) -> None:
        """Whether the run is over; feedback where it is not."""
        run = self._current
        if run is None:
            return
        results, controller = self._type.Result, self._node.controller
        elapsed = time.monotonic() - run.began
        if controller is None or controller is not run.controller:
            self._finish(run, results.DEACTIVATED, 'the node was deactivated')
        elif run.handle.is_cancel_requested:
            self._finish(run, results.CANCELLED, 'cancelled')
        elif controller.loop.state is State.LATCHED:
            self._finish(run, results.STOPPED, controller.loop.status.reason)
        elif run.way is not None and self._has_arrived(run.way):
            self._finish(run, results.DONE, 'at the start pose')
        elif elapsed >= run.limit:
            late = run.to_start
            self._finish(
                run, results.TOO_LATE if late else results.DONE,
                f'{"not at the start pose after" if late else "ended after"} {run.limit:g} s',
            )  # fmt: skip
        else:
            run.handle.publish_feedback(self._feedback(run, controller, elapsed))

    def _finish(self, run: _Run, outcome: int, text: str) -> None:
        if self._node.controller is run.controller:
            self._node.trigger_deactivate()
        self._current = None
        log.info('the run ends: %s', text)
        run.done.set_result((outcome, text))

    def _result(self, run: _Run, outcome: int, text: str) -> Any:
        results = self._type.Result
        if outcome == results.DONE:
            run.handle.succeed()
        elif outcome == results.CANCELLED:
            run.handle.canceled()
        else:
            run.handle.abort()
        steps = 0 if run.controller is None else run.controller.loop.step
        elapsed = _duration(time.monotonic() - run.began)
        return results(outcome=outcome, message=text, steps=steps, elapsed=elapsed)

    def _feedback(self, run: _Run, controller: Controller, elapsed: float) -> Any:
        loop = controller.loop
        hits = sum(sum(counts.values()) for counts in loop.limiter.hits.values())
        return self._type.Feedback(
            state=loop.status.reason or loop.state.value, step=loop.step,
            elapsed=_duration(elapsed), age=self._oldest_input(), limit_hits=hits,
        )  # fmt: skip


    def _has_arrived(self, way: PathPolicy) -> bool:
        wiring = self._node.wiring
        if wiring is None:
            return False
        measured, _ = wiring.store.measured(self._node.get_clock().now().nanoseconds)
        return measured is not None and way.is_at(measured)

    def _oldest_input(self) -> float:
        wiring = self._node.wiring
        if wiring is None:
            return math.nan
        ages = [*wiring.store.ages(self._node.get_clock().now().nanoseconds).values()]
        return max((math.nan if age is None else age for age in ages), key=_unknown_first)


def _unknown_first(age: float) -> float:
    return math.inf if math.isnan(age) else age


def _duration(seconds: float) -> Duration:
    fraction, whole = math.modf(max(0.0, seconds))
    return Duration(sec=int(whole), nanosec=int(fraction * 1e9))
