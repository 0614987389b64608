"""Which topic shows what each camera of a policy saw."""

import difflib
import re
from dataclasses import dataclass

from act_ros.commissioning.draft.policy_side import PolicySide
from act_ros.commissioning.draft.sighting import Seen, Sighting
from act_ros.commissioning.draft.sources import call_topics, words_of
from act_ros.interfaces import CAMERA_TYPES

# Words that the names of most cameras have.
GENERIC = {'cam', 'camera', 'rgb', 'image'}
RAW = CAMERA_TYPES['Image']


@dataclass(frozen=True)
class Camera:
    """One camera of the policy.

    :ivar topic: '' where none is like its name.
    :ivar seen: what came there.
    :ivar size: height and width that the policy takes [px]; None where that is not known.
    """

    name: str
    topic: str
    seen: Seen | None
    size: tuple[int, int] | None


def match_cameras(sighting: Sighting, side: PolicySide) -> list[Camera]:
    """The policy's cameras, each with the topic whose name is most like its own.

    Where the policy names none they are those that are seen.
    """
    topics = sighting.cameras()
    if not side.cameras:
        # Of one camera that is sent as it is, rectified and compressed, the first that there is.
        found: dict[str, str] = {}
        for topic in sorted(topics, key=lambda t: (topics[t].type != RAW, 'rect' in t)):
            found.setdefault(_camera_of(topic), topic)
        alone = {topic: seen for topic, seen in topics.items() if topic in found.values()}
        named = call_topics(alone, 'camera')
        return [Camera(named[topic], topic, seen, seen.size) for topic, seen in alone.items()]
    found = {}
    pairs = sorted(
        ((_alike(name, topic), name, topic) for name in side.cameras for topic in topics),
        key=lambda pair: -pair[0],
    )
    for likeness, name, topic in pairs:
        # The same camera's other topics are no other camera's.
        taken = {_camera_of(other) for other in found.values()}
        if likeness > 0 and name not in found and _camera_of(topic) not in taken:
            found[name] = topic
    cameras = []
    for name, size in side.cameras.items():
        seen = topics.get(found.get(name, ''))
        size = size or (None if seen is None else seen.size)
        cameras.append(Camera(name, found.get(name, ''), seen, size))
    return cameras


def _camera_of(topic: str) -> str:
    """A topic without the part that says how it is sent."""
    return re.sub(r'/(image(_raw|_color|_rect|_rect_color)?|compressed)(?=/|$)', '', topic)


def _alike(name: str, topic: str) -> float:
    """How much a topic may be a camera's; 0 where it may not."""
    words, plain = words_of(topic), re.sub(r'\W', '_', name.lower())
    whole = plain in re.sub(r'\W', '_', topic.lower())
    shared = len(set(words) & (set(plain.split('_')) - GENERIC))
    likeness = difflib.SequenceMatcher(None, plain, topic.lower()).ratio()
    raw = 0.0 if topic.endswith('/compressed') else 0.1
    return (2.0 * whole + shared + likeness + raw) if whole or shared else 0.0
