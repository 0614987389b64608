"""Limits on a command: nothing non-finite passes, nothing leaves its range or its step."""

from act_ros.safety.limiter import TURN, CommandLimiter
from act_ros.safety.limits import Limits

__all__ = ['TURN', 'CommandLimiter', 'Limits']
