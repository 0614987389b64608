"""Recorded bags: read, whole or as a crash left them, in the order of time; and written."""

from act_ros.errors import BagError

try:
    import lz4.frame  # noqa: F401
    import mcap  # noqa: F401
    import rosbags  # noqa: F401
    import zstandard  # noqa: F401
except ImportError as error:
    raise BagError(
        f"reading bags needs {error.name}, which is not installed: pip install 'act_ros[bags]'"
    ) from None
