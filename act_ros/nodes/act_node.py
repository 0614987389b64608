"""The ACT lifecycle node: parameters, transitions, subscriptions; the rest is wired."""

import gc
import logging
import threading
import time
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import (  # type: ignore[attr-defined]  # Humble has ClockType here alone
    Clock,
    ClockChange,
    ClockType,
    JumpThreshold,
    TimeJump,
)
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from std_srvs.srv import Trigger

from act_ros.bridge.process import EndpointProcess
from act_ros.control.checks import check_horizon, check_latency, check_silence
from act_ros.control.path import PathPolicy, read_pose
from act_ros.errors import ActError
from act_ros.nodes import model
from act_ros.nodes.abandon import AbandonedError, abandonable
from act_ros.nodes.checks import WARM_PASSES, guest_batch, slowest_pass, warn_of_pose
from act_ros.nodes.controller import BRAKING, Controller
from act_ros.nodes.declare import (
    check_changes,
    declare_limits,
    declare_parameters,
    read_live_parameters,
    read_parameters,
)
from act_ros.nodes.diagnostics import Report
from act_ros.nodes.input_watch import InputsError, InputWatch
from act_ros.nodes.runs import RunServers
from act_ros.nodes.wiring import Wiring
from act_ros.parameters import Settings
from act_ros.policy import PolicyProcess, as_played
from act_ros.policy.interface import SharedPredictor
from act_ros.policy.process import LOAD
from act_ros.safety import Limits, action_entries
from act_ros.task import Task

log = logging.getLogger(__name__)

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE

ANY_JUMP = JumpThreshold(
    min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1)
)


class ActNode(LifecycleNode):
    """Cameras and joint states in, commands out.

    :param load: 'module:function' that loads the policy; another one serves tests.
    """

    def __init__(self, load: str = LOAD, **kwargs: Any) -> None:
        super().__init__('act', **kwargs)
        self._load = load
        self._ending = threading.Event()
        self._abandonable = partial(abandonable, ending=self._ending)
        self._policy: PolicyProcess | None = None
        self._wiring: Wiring | None = None
        self._controller: Controller | None = None
        # Held while the controller is begun or taken away: the signal watcher may do the latter.
        self._switching = threading.Lock()
        self._at_rest = threading.Event()  # no controller is braking
        self._at_rest.set()
        # Whoever publishes commands has it: configurations and activations share one robot.
        self._wire = threading.Lock()
        self._server: EndpointProcess | None = None
        self._last_failure: object = None
        self._failure = ''  # why the last transition failed
        self._was_active = False
        self._by_itself = False  # a transition that autostart has asked for
        self._inputs = InputWatch()
        self._home: np.ndarray | None = None  # where the first activation began
        self._way: PathPolicy | None = None  # of the activation: acts in the place of the policy
        self._report = Report(self.get_fully_qualified_name())

        self._runs: RunServers | None = None
        self._jumps = self.get_clock().create_jump_callback(
            ANY_JUMP, post_callback=self._on_jump
        )
        # From here on the node can be destroyed, also where a parameter does not fit.
        declare_parameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self._runs = RunServers(self)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._on_second, clock=self._steady)
        log.info('ready: unconfigured')

    # --- lifecycle -------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters, load and warm up the model, make subscriptions and endpoint."""
        try:
            self._configure()
        except Exception as error:
            self._explain('not configured', error)
            self._release()
            return FAILURE
        self._failure = ''
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin a new episode; without fresh inputs fail at once and name them."""
        try:
            self._activate()
        except Exception as error:
            self._explain('not activated', error)
            self._stop_controller()
            return FAILURE
        self._last_failure, self._failure = None, ''
        self._was_active = True
        log.info('active')
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the commands; the stop policy's message is the last."""
        self._stop_controller()
        # The controller's parts know each other; now is a time to take them away.
        gc.collect()
        log.info('inactive')
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model, the subscriptions and the endpoint."""
        self._release()
        self._last_failure, self._failure = None, ''
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End the commands and free everything, from any state."""
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Secure: end the commands and free everything."""
        self._release()
        return SUCCESS

    def halt(self) -> None:
        """End the commands now; for the process's end, from any thread."""
        self._ending.set()
        self._stop_controller()
        self._at_rest.wait(2 * BRAKING)  # a deactivation may be under way
        if self._server is not None:
            self._server.stop()

    def destroy_node(self) -> None:
        """Free everything, the DDS participant and its shared memory included."""
        self._release()
        self._jumps.unregister()
        if self._runs is not None:
            self._runs.close()
        super().destroy_node()
        # rclpy leaves the state machine alive, which holds the node, which holds the rest.
        self._state_machine.destroy_when_not_in_use()

    def _configure(self) -> None:
        settings = read_parameters(self)
        task = Task.from_settings(settings)
        limits = Limits.from_settings(settings, task)
        declare_limits(self, task.action)  # of one that was changed since they were declared
        action_entries(task, 'follow_newest', settings.follow_newest)
        self._wiring = Wiring(self, settings, task)
        check_horizon(self._wiring.outputs, settings)
        if settings.stop_policy == 'silent':
            check_silence(self._wiring.outputs)
        self._settings, self._task, self._home = settings, task, None
        if settings.start_pose:
            self._home = read_pose(settings.start_pose, task, limits, settings.tick_rate)
        # Beside the tick's process, so that the network neither delays nor crashes it.
        self._policy = policy = model.begin(settings, self._load)

        if settings.zmq_endpoint:
            # Before the load, which takes long: who asks meanwhile is told so.
            self._server = self._abandonable(lambda: EndpointProcess(settings))
            log.info('listening for ZMQ clients on %s, loading', self._server.endpoint)

        def load() -> float:
            model.load(policy, settings, task)
            return slowest_pass(policy)

        latency = self._abandonable(load)
        log.info('slowest of %d warm passes: %.1f ms', WARM_PASSES, latency * 1e3)
        chunk = policy.chunk_size / settings.control_rate
        check_latency(settings, latency, chunk, simulated=self._simulated)
        if self._server is not None:
            batch = self._abandonable(lambda: guest_batch(policy, settings, latency, chunk))
            self._server.begin(lambda: policy.admit(batch))
            log.info('serving ZMQ on %s', self._server.endpoint)
        # What is here now stays: some 100,000 objects that every full collection would look at.
        gc.collect()
        gc.freeze()

    def _activate(self) -> None:
        wiring, policy = self._wiring, self._policy
        assert wiring is not None and policy is not None  # it has been configured
        if self._wire.locked():
            raise ActError(
                'a command of the last activation is still being published: the middleware hangs; '
                'try again, and if that does not help start the node anew'
            )
        now = self.get_clock().now().nanoseconds
        if self._simulated and now == 0:
            raise ActError('use_sim_time is true, but nothing publishes /clock')
        snapshot, faults = wiring.store.snapshot(now)
        measured, unmeasured = wiring.store.measured(now)
        if snapshot is not None and not unmeasured:
            faults = snapshot.damaged()
        faults = unmeasured | faults
        if snapshot is None or measured is None or faults:
            raise InputsError(faults, wiring.causes(faults))
        # What is set live counts from here on.
        settings = as_played(read_live_parameters(self, self._settings), policy)
        acting: SharedPredictor = policy if self._way is None else self._way
        settings = self._acted(settings)
        controller = Controller(
            settings,
            Limits.from_settings(settings, self._task),
            clock=self.get_clock(),
            simulated=self._simulated,
            policy=acting,
            wiring=wiring,
            wire=self._wire,
        )
        controller.loop.limiter.check_measured(measured)
        if wiring.deadman is not None:
            wiring.deadman.forget()
        if acting is policy:
            warn_of_pose(self._task, snapshot.qpos, policy.statistics)
        if self._home is None:
            self._home = measured
        with self._switching:
            if self._ending.is_set():
                raise AbandonedError('the process ends')
            self._controller = controller
            controller.start()
        if self._simulated and settings.realtime_priority:
            log.info('use_sim_time is true: realtime_priority has no effect')
        if settings.dry_run:
            log.warning('dry run: commands go to ~/dry_run only')

    def _stop_controller(self) -> None:
        with self._switching:
            controller, self._controller, self._way = self._controller, None, None
            if controller is None:
                return
            self._at_rest.clear()
        try:
            # The tick itself takes a millisecond; what takes longer is a pass inside it.
            controller.stop(timeout=0.08)
        finally:
            self._at_rest.set()

    def _release(self) -> None:
        """Undo `_configure`, as far as it went."""
        self._stop_controller()
        if self._server is not None:
            # The port shall be free for the next configuration, and clients told.
            self._server.close()
        if self._wiring is not None:
            self._wiring.close()
        if self._policy is not None:
            self._policy.close()
        self._policy = self._wiring = self._server = None
        gc.unfreeze()

    # --- what goals ask for ------------------------------------------------------------------

    @property
    def controller(self) -> Controller | None:
        """That of the activation, if there is one."""
        return self._controller

    @property
    def wiring(self) -> Wiring | None:
        """The topics, where the node is configured."""
        return self._wiring

    def clock_of_goals(self) -> int:
        """The time that goals take: simulated where there is that, else steady [ns]."""
        return self.get_clock().now().nanoseconds if self._simulated else time.monotonic_ns()

    def activate_with(self, way: PathPolicy | None) -> str:
        """Activate from inactive; why that is not possible, or ''.

        :param way: acts, until the end of the activation, in the place of the policy.
        """
        label = self._state_machine.current_state[1]
        if label != 'inactive':
            return f'the node is {label}: a goal activates it from inactive'
        self._way = way
        return '' if self.trigger_activate() == SUCCESS else self._failure

    def way_to_start(self) -> PathPolicy:
        """The way from where the robot is to its start pose.

        :raises ActError: there is none, or it lies outside the limits.
        """
        wiring = self._wiring
        if wiring is None or self._home is None:
            raise ActError('there is no start pose: set start_pose, or activate once')
        settings, clock = read_live_parameters(self, self._settings), self.get_clock()
        return PathPolicy(
            self._task, self._home, Limits.from_settings(settings, self._task),
            settings.tick_rate, lambda: wiring.store.measured(clock.now().nanoseconds)[0],
            self.clock_of_goals,
        )  # fmt: skip

    # --- callbacks -------------------------------------------------------------------------

    def _on_second(self) -> None:
        """Once a second: report, and with autostart try the next transition."""
        now = self.get_clock().now().nanoseconds
        message = self._report.message(
            self._state_machine.current_state[1],
            self._failure,
            self._wiring,
            self._controller,
            self._server,
            now,
            self._inputs.look(self._wiring, self._controller, now),
        )
        self._diagnostics.publish(message)
        # Who deactivates later on does not want it back by itself.
        if not self._was_active and self.get_parameter('autostart').value:
            self._start_by_itself()

    def _start_by_itself(self) -> None:
        if self._ending.is_set():
            return
        label = self._state_machine.current_state[1]
        self._by_itself = True
        try:
            if label == 'unconfigured':
                self.trigger_configure()
            elif label == 'inactive':  # a second later: the first inputs have come
                self.trigger_activate()
        finally:
            self._by_itself = False

    def _on_reset(self, request: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        controller = self._controller
        reply.success = False
        if controller is None:
            reply.message = 'not active: activation begins a new episode by itself'
        elif not controller.ticker.alive:
            reply.message = controller.guard.trouble
        else:
            controller.loop.new_episode()
            reply.success = True
            reply.message = 'a new episode begins with the next tick'
        return reply

    def _on_jump(self, jump: TimeJump) -> None:
        changed = jump.clock_change in (
            ClockChange.ROS_TIME_ACTIVATED,
            ClockChange.ROS_TIME_DEACTIVATED,
        )
        text = None
        if changed or jump.delta.nanoseconds < 0:
            text = f'the clock jumped by {jump.delta.nanoseconds / 1e9:.3f} s: new episode'
            if self._wiring is not None:
                log.warning('%s', text)
                self._wiring.store.clear()
        controller = self._controller
        if controller is not None:
            controller.clock_jumped(text)

    def _on_set_parameters(self, changes: list[RosParameter]) -> SetParametersResult:
        """Check all changes together, then apply all of them, or none."""
        try:
            settings = check_changes(self, changes, configured=self._policy is not None)
            controller, server = self._controller, self._server
            if self._policy is not None:
                settings = as_played(settings, self._policy)
                acted = self._acted(settings)
                limits = Limits.from_settings(acted, self._task)
                if controller is not None:
                    controller.loop.change(acted, limits)
        except ActError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if server is not None:
            server.set_decay(settings.blending.decay)
        return SetParametersResult(successful=True)

    # --- small parts -----------------------------------------------------------------------

    @property
    def _simulated(self) -> bool:
        return bool(self.get_parameter('use_sim_time').value)

    def _acted(self, settings: Settings) -> Settings:
        """The parameters as they count for what acts."""
        return settings if self._way is None else self._way.played(settings)

    def _explain(self, what: str, error: Exception) -> None:
        """Say why a transition failed: one line for a user's mistake.

        Autostart tries again and again: what it meets is said once.
        """
        self._failure = f'{what}: {error}'
        failure = (what, getattr(error, 'causes', str(error)))
        if (self._by_itself and failure == self._last_failure) or isinstance(
            error, AbandonedError
        ):
            return
        self._last_failure = failure
        if isinstance(error, ActError):
            log.error('%s: %s', what, error)
        else:
            log.error('%s', what, exc_info=error)
