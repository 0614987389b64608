"""The control loop's decisions: pure, with the time as an argument."""

from act_ros.control.clock import StepClock
from act_ros.control.loop import Arrival, Command, ControlLoop, Request

__all__ = ['Arrival', 'Command', 'ControlLoop', 'Request', 'StepClock']
