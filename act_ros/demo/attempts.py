"""One attempt at the task after the other: each in a new scene, and a new activation of the node.

In between, the node is inactive: its robot has come to rest, nobody commands it, and what the
node saw of one scene is too old for the next.
"""

import math
import statistics
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from std_srvs.srv import Trigger

from act_ros.demo.monitor import Monitor
from act_ros.errors import ActError
from act_ros.nodes.isolation import OwnGraph
from act_ros.sim.world import TIME_LIMIT

Steps = Generator[None, None, None]  # at each yield the caller takes in messages

GRASPED = 'grasped'
AFTERWARDS = 2.0  # from the grasp to the end of an attempt: one sees the unit come along [s]
START = 90.0  # loading and warming up may take as long on a busy machine [s]
ANSWER = 20.0  # for everything else that is waited for [s]
AGAIN = 0.3  # what was refused is asked for again [s]
MARGIN = 0.1  # beyond the age at which an input counts no more [s]
REPORT = 2.0  # the node reports each second [s]


@dataclass
class Attempt:
    """One attempt.

    :ivar seed: of its scene.
    :ivar began: when its first command was made [s]; None before.
    :ivar outcome: '' while it is undecided, `GRASPED`, or why not.
    :ivar time_to_grasp: from the first command [s].
    :ivar distance: of the gripper from the handle when it was decided [m].
    :ivar ended: when the node was told to stop [s]; None before.
    :ivar since: when the node had been activated for it [s].
    :ivar report: the node's last diagnostics of it.
    """

    seed: int
    began: float | None = None
    outcome: str = ''
    time_to_grasp: float | None = None
    distance: float = float('nan')
    ended: float | None = None
    since: float = field(default_factory=time.time)
    report: dict[str, str] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the handle was grasped and held."""
        return self.outcome == GRASPED

    @property
    def span(self) -> tuple[float, float]:
        """From the first command to the end, each infinitely far where it has not been [s]."""
        return self.began or math.inf, self.ended or math.inf


def outcome(succeeded: bool, control: str, message: str, waited: float, limit: float) -> str:
    """What has come of an attempt; '' while it is undecided.

    :param succeeded: as the robot judges.
    :param control: what the node's control loop is doing, in its words; '' if it is not known.
    :param message: what the node says of that.
    :param waited: since its first command, or for it [s].
    :param limit: for that [s].
    """
    if succeeded:
        return GRASPED
    if control.startswith('stopped'):
        return f'commands ended: {message}'
    return f'not grasped within {limit:g} s' if waited > limit else ''


class Attempts:
    """Has the arm try again and again.

    :param monitor: what is seen of it.
    :param graph: where the node and the robot are.
    :param max_age: of the node's inputs [s].
    :ivar made: all of them, the newest last.
    :ivar doing: what is going on, for people.
    """

    def __init__(self, monitor: Monitor, graph: OwnGraph, max_age: float) -> None:
        self.made: list[Attempt] = []
        self.doing = 'the programs start'
        self._monitor, self._max_age = monitor, max_age
        self._change: Client = monitor.create_client(
            ChangeState, graph.inside('act/change_state')
        )
        self._scene: Client = monitor.create_client(Trigger, graph.inside('sim_robot/new_scene'))

    @property
    def decided(self) -> list[Attempt]:
        """Those of which it is known what came of them."""
        return [attempt for attempt in self.made if attempt.outcome]

    @property
    def seen(self) -> bool:
        """Whether there is something to tell of: the robot's account of an attempt."""
        first = min((attempt.span[0] for attempt in self.made), default=math.inf)
        return any(account.stamp >= first for account in self._monitor.accounts)

    @property
    def reports(self) -> list[dict[str, str]]:
        """The node's last diagnostics of each activation."""
        return [attempt.report for attempt in self.made if attempt.report]

    @property
    def successes(self) -> int:
        """How many of these succeeded."""
        return sum(attempt.success for attempt in self.decided)

    @property
    def time_to_grasp(self) -> float | None:
        """The median of those that succeeded [s]; None without any."""
        times = [a.time_to_grasp for a in self.decided if a.success and a.time_to_grasp]
        return statistics.median(times) if times else None

    def run(self) -> Steps:
        """Go on for ever.

        :raises ActError: the node or the robot does not do what it is asked for.
        """
        self.doing = 'the policy is loaded'
        if not (yield from self._transition(Transition.TRANSITION_CONFIGURE, START)):
            raise ActError((yield from self._refusal('not configured')))
        self.doing = 'the robot begins'
        yield from self._until(lambda: self._monitor.accounts, ANSWER, 'the robot')
        while True:
            # Whatever is fresh from here on was made in this scene.
            yield from self._pause(self._max_age + MARGIN)
            yield from self._activate()
            yield from self._attempt()
            yield from self._deactivate()
            yield from self._new_scene()

    def wait_for_report(self) -> Steps:
        """Take in what the node says next."""
        since, deadline = time.time(), time.monotonic() + REPORT
        while self._monitor.reported < since and time.monotonic() < deadline:
            yield

    def keep_report(self) -> None:
        """Keep what the node has said of the present activation, if there is one."""
        attempt = self.made[-1] if self.made else None
        if attempt and attempt.ended is None and self._monitor.reported > attempt.since:
            attempt.report = self._monitor.report

    def _attempt(self) -> Steps:
        attempt = Attempt(self._monitor.accounts[-1].seed)
        self.made.append(attempt)
        self.doing = f'attempt {len(self.made)}, scene {attempt.seed}: on the way'
        monitor, before = self._monitor, len(self._monitor.commands)
        while not attempt.outcome:
            yield
            if attempt.began is None and len(monitor.commands) > before:
                attempt.began = monitor.commands[before][0]
            account, told = monitor.accounts[-1], monitor.reported > attempt.since
            attempt.outcome = outcome(
                account.succeeded,
                monitor.report.get('control', '') if told else '',
                monitor.message,
                time.time() - (attempt.began or attempt.since),
                ANSWER if attempt.began is None else TIME_LIMIT,
            )
            attempt.distance = account.distance
        if attempt.success:
            attempt.time_to_grasp = account.time_to_grasp
        self.doing = f'attempt {len(self.made)}, scene {attempt.seed}: {attempt.outcome}'
        if attempt.began is not None and attempt.time_to_grasp is not None:
            yield from self._pause(
                attempt.began + attempt.time_to_grasp + AFTERWARDS - time.time()
            )
        yield from self.wait_for_report()
        self.keep_report()

    def _activate(self) -> Steps:
        deadline = time.monotonic() + ANSWER
        while not (yield from self._transition(Transition.TRANSITION_ACTIVATE, ANSWER)):
            if time.monotonic() > deadline:
                raise ActError((yield from self._refusal('not activated')))
            yield from self._pause(AGAIN)

    def _deactivate(self) -> Steps:
        if not (yield from self._transition(Transition.TRANSITION_DEACTIVATE, ANSWER)):
            raise ActError('the node was not deactivated; its log says why')
        self.made[-1].ended = time.time()

    def _new_scene(self) -> Steps:
        """The robot refuses while the last commands are still fresh."""
        deadline, before = time.monotonic() + ANSWER, self._monitor.accounts[-1].seed
        while not (reply := (yield from self._call(self._scene, Trigger.Request()))).success:
            if time.monotonic() > deadline:
                raise ActError(f'no new scene: {reply.message}')
            yield from self._pause(AGAIN)
        yield from self._until(
            lambda: self._monitor.accounts[-1].seed != before, ANSWER, 'the new scene'
        )

    def _transition(self, number: int, timeout: float) -> Generator[None, None, bool]:
        request = ChangeState.Request(transition=Transition(id=number))
        return (yield from self._call(self._change, request, timeout)).success

    def _call(
        self, client: Client, request: object, timeout: float = ANSWER
    ) -> Generator[None, None, Any]:
        yield from self._until(client.service_is_ready, timeout, f'the service {client.srv_name}')
        future = client.call_async(request)
        yield from self._until(future.done, timeout, f'an answer of {client.srv_name}')
        return future.result()

    def _refusal(self, what: str) -> Generator[None, None, str]:
        """What the node says of a transition that failed, in its next report."""
        yield from self.wait_for_report()
        message = self._monitor.message
        return message if message.startswith(what) else f'{what}; the log of the node says why'

    def _pause(self, seconds: float) -> Steps:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield

    def _until(
        self, condition: Callable[[], object], timeout: float, what: str
    ) -> Steps:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise ActError(f'waited {timeout:g} s for {what}; the logs say why')
            yield
