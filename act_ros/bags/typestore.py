"""The messages that are read from bags and written to them."""

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_typestore


@cache
def typestore() -> Any:
    """The standard message types; those that are read here are alike in every distribution."""
    return get_typestore(Stores.ROS2_HUMBLE)
