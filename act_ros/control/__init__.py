"""The control loop's decisions: pure, with the time as an argument."""

from act_ros.control.clock import ClockWatch, StepClock
from act_ros.control.delay import Course, InferenceDelay, takes
from act_ros.control.exchange import Arrival, Command, Request, Veto
from act_ros.control.lockstep import Infer, LockStep
from act_ros.control.loop import ControlLoop
from act_ros.control.motion import MotionMeter
from act_ros.control.state import State
from act_ros.control.watchdog import oldest_behind, patient

__all__ = [
    'Arrival',
    'ClockWatch',
    'Command',
    'ControlLoop',
    'Course',
    'Infer',
    'InferenceDelay',
    'LockStep',
    'MotionMeter',
    'Request',
    'State',
    'StepClock',
    'Veto',
    'oldest_behind',
    'patient',
    'takes',
]
