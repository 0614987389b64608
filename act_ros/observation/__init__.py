"""One instant of a robot's inputs: decode a frame, newest wins, freshness and skew, qpos."""

from act_ros.observation.arrival import stamp_ns
from act_ros.observation.framing import Framing, framings
from act_ros.observation.image import check_image, decode_image
from act_ros.observation.store import ObservationStore, Snapshot

__all__ = [
    'Framing', 'ObservationStore', 'Snapshot', 'check_image', 'decode_image', 'framings',
    'stamp_ns',
]  # fmt: skip
