"""`~/run` and `~/return_to_start`: activations that a behaviour tree or an operator asks for.

A goal activates the node, and deactivates it when it ends: so between two runs it commands
nothing, and each has all the checks of an activation. One goal at a time.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
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

    :ivar limit: how long it may take [s].
    :ivar looked: when it was looked at last [ns].
    :ivar elapsed: since it began [s]; a clock that is set back takes nothing away.
    :ivar controller: of its activation.
    :ivar done: gets what it ended with: an outcome and a text.
    :ivar way: to the start pose, if that is what is asked for.
    """

    handle: Any
    limit: float
    looked: int
    done: Future
    elapsed: float = 0.0
    controller: Controller | None = None
    way: PathPolicy | None = None

    def look(self, now: int) -> None:
        """Time has gone on."""
        self.elapsed += max(0, now - self.looked) / 1e9
        self.looked = now


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
        except ParameterError:
            log.debug('no ~/run: the package act_ros_interfaces is not built')
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
            log.warning('a goal is refused: another one is carried out')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _executor_of(self, to_start: bool) -> Callable[[Any], Any]:
        async def execute(handle: Any) -> Any:
            wanted = handle.request.max_duration
            limit = wanted.sec + wanted.nanosec / 1e9
            run = _Run(handle, limit, self._node.clock_of_goals(), Future())
            outcome, text = self._begin(run, to_start)
            if not outcome:
                ended = await run.done
                assert ended is not None  # it is set once, in `_finish`
                outcome, text = ended
            return self._result(run, outcome, text)

        return execute

    def _begin(self, run: _Run, to_start: bool) -> tuple[int, str]:
        """Activate; an outcome and a text where that is not possible, or 0 and ''."""
        results = self._type.Result
        if self._current is not None:  # accepted at the same time
            return results.NOT_STARTED, 'another goal is carried out'
        if run.handle.is_cancel_requested:  # in between
            return results.CANCELLED, 'cancelled before it began'
        if not run.limit > 0:
            return results.NOT_STARTED, f'max_duration is {run.limit:g} s, expected more than 0'
        try:
            run.way = self._node.way_to_start() if to_start else None
            trouble = self._node.activate_with(run.way)
        except ActError as error:
            trouble = str(error)
        if trouble:
            return results.NOT_STARTED, trouble
        run.controller, self._current = self._node.controller, run
        log.info('%s for at most %g s', 'to the start pose' if to_start else 'run', run.limit)
        return 0, ''

    def _look(self) -> None:
        """Whether the run is over; feedback where it is not."""
        run = self._current
        if run is None:
            return
        results, controller = self._type.Result, self._node.controller
        run.look(self._node.clock_of_goals())
        if controller is None or controller is not run.controller:
            self._finish(run, results.DEACTIVATED, 'the node was deactivated')
        elif run.handle.is_cancel_requested:
            self._finish(run, results.CANCELLED, 'cancelled')
        elif controller.loop.state is State.LATCHED:
            self._finish(run, results.STOPPED, controller.loop.status.reason)
        elif run.way is not None and self._has_arrived(run.way):
            self._finish(run, results.DONE, 'at the start pose')
        elif run.elapsed >= run.limit:
            if run.way is None:
                self._finish(run, results.DONE, f'ended after {run.limit:g} s')
            else:
                self._finish(run, results.TOO_LATE, self._too_late(run, run.way))
        else:
            feedback = self._type.Feedback(age=self._oldest_input(), **_so_far(run))
            feedback.state = controller.loop.status.reason or controller.loop.state.value
            run.handle.publish_feedback(feedback)

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
        return results(outcome=outcome, message=text, **_so_far(run))

    def _has_arrived(self, way: PathPolicy) -> bool:
        measured = self._measured()
        return measured is not None and way.is_at(measured)

    def _too_late(self, run: _Run, way: PathPolicy) -> str:
        measured = self._measured()
        away = {} if measured is None else way.away(measured)
        text = f'not at the start pose after {run.limit:g} s'
        return text + ''.join(f'; {name} is {far:.3g} away' for name, far in away.items())

    def _measured(self) -> np.ndarray | None:
        wiring = self._node.wiring
        if wiring is None:
            return None
        return wiring.store.measured(self._node.get_clock().now().nanoseconds)[0]

    def _oldest_input(self) -> float:
        wiring = self._node.wiring
        if wiring is None:
            return math.nan
        ages = [*wiring.store.ages(self._node.get_clock().now().nanoseconds).values()]
        return max((math.nan if age is None else age for age in ages), key=_unknown_first)


def _so_far(run: _Run) -> dict[str, Any]:
    """What feedback and result both say."""
    if run.controller is None:
        return {'elapsed': _duration(run.elapsed)}
    loop = run.controller.loop
    hits = list(loop.limiter.hits.values())
    return {
        'elapsed': _duration(run.elapsed),
        'step': loop.step,
        'limit_hits': sum(sum(counts.values()) for counts in hits),
        'limited': sorted({entry for counts in hits for entry in counts}),
    }


def _unknown_first(age: float) -> float:
    return math.inf if math.isnan(age) else age


def _duration(seconds: float) -> Duration:
    fraction, whole = math.modf(max(0.0, seconds))
    return Duration(sec=int(whole), nanosec=int(fraction * 1e9))
