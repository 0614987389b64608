"""Limits on a command: nothing non-finite passes, nothing leaves its range or its step."""

from act_ros.safety.limiter import CommandLimiter
from act_ros.safety.limits import (
    TURN,
    Limits,
    action_entries,
    action_turns,
    joint_of,
    joints_of,
    lacking_limits,
    limit_faults,
)

__all__ = [
    'TURN', 'CommandLimiter', 'Limits', 'action_entries', 'action_turns', 'joint_of',
    'joints_of', 'lacking_limits', 'limit_faults',
]  # fmt: skip
