"""What a user can set: one table, its values, and the limits of single joints."""

from act_ros.parameters.joint_limits import LIMITED, JointLimits, limit_names
from act_ros.parameters.settings import (
    FOREIGN,
    PARAMETERS,
    Blending,
    Settings,
    check_names,
    find_row,
)
from act_ros.parameters.table import Parameter, check_values, row, rows

__all__ = [
    'FOREIGN', 'LIMITED', 'PARAMETERS', 'Blending', 'JointLimits', 'Parameter', 'Settings',
    'check_names', 'check_values', 'find_row', 'limit_names', 'row', 'rows',
]  # fmt: skip
