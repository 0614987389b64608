"""What a URDF says of a robot's joints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from act_ros.errors import ParameterError, one_line

LARGEST = 32_000_000  # letters; meshes are in files of their own
MOVABLE = ('revolute', 'continuous', 'prismatic')


@dataclass(frozen=True)
class Described:
    """What descriptions say.

    :ivar joints: those that can be moved, by name.
    :ivar faults: of descriptions that could not be read, a line each.
    """

    joints: Mapping[str, 'UrdfJoint'] = field(default_factory=dict)
    faults: Sequence[str] = ()


@dataclass(frozen=True)
class UrdfJoint:
    """One joint that can be moved.

    :ivar limits: by the names of `JointLimits`; what is not said is absent.
    :ivar continuous: it turns for ever.
    """

    name: str
    limits: Mapping[str, float]
    continuous: bool = False


def read_urdf(path: Path) -> dict[str, UrdfJoint]:
    """Read a file.

    :raises ParameterError: it cannot be read, or is none.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise ParameterError(f'cannot read the description {path}: {one_line(error)}') from None
    return parse_urdf(text, str(path))


def parse_descriptions(texts: Mapping[str, str], where: str) -> Described:
    """What a robot publishes of itself: parts of it, or the same several times.

    :param texts: by topic.
    :param where: they are from, for people.
    """
    joints: dict[str, UrdfJoint] = {}
    faults = []
    for topic, text in texts.items():
        try:
            found = parse_urdf(text, f'{topic} in {where}')
        except ParameterError as error:
            faults.append(str(error))
            continue
        for name, joint in found.items():
            other = joints.get(name, joint)
            limits = narrower(joint.limits, other.limits)
            joints[name] = UrdfJoint(name, limits, joint.continuous and other.continuous)
    return Described(joints, faults)


def narrower(limits: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    """What two say of a joint: of two limits the narrower."""
    both = {**limits, **others}
    for name in limits.keys() & others.keys():
        choose = max if name == 'min_position' else min
        both[name] = choose(limits[name], others[name])
    return both


def parse_urdf(text: str, where: str) -> dict[str, UrdfJoint]:
    """The joints that can be moved, by name, in the order of the description.

    :param where: it is from, for errors.
    :raises ParameterError: it is no URDF.
    """
    # A type declaration may define entities without end, and no description has one.
    if len(text) > LARGEST or '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise ParameterError(f'{where} is no URDF: it is too long, or has a type declaration')
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ParameterError(f'{where} is no URDF: {error}') from None
    if root.tag != 'robot':
        raise ParameterError(f'{where} is no URDF: it holds a {root.tag!r}, expected a robot')
    joints = {}
    for element in root.iterfind('joint'):
        name, kind = element.get('name', ''), element.get('type', '')
        if '${' in name + kind:
            raise ParameterError(
                f'{where} is a xacro, not a URDF: make one of it with `xacro FILE > robot.urdf`'
            )
        # One that mimics another is moved by nobody.
        if kind in MOVABLE and element.find('mimic') is None:
            if not name:
                raise ParameterError(f'{where} has a joint without a name')
            continuous = kind == 'continuous'
            joints[name] = UrdfJoint(name, _limits(element, where, continuous), continuous)
    if not joints:
        raise ParameterError(f'{where} has no joint that can be moved')
    return joints


def _limits(joint: ElementTree.Element, where: str, continuous: bool) -> dict[str, float]:
    limit = joint.find('limit')
    if limit is None:
        return {}
    names = {'velocity': 'max_velocity'}
    if not continuous:
        names |= {'lower': 'min_position', 'upper': 'max_position'}
    found = {}
    for attribute, name in names.items():
        text = limit.get(attribute)
        # Not said, a bound of a range is 0; so it is written where a range was left out.
        if text is None:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise ParameterError(
                f'{where}: {attribute} of joint {joint.get("name")!r} is {text!r}, expected a '
                f'number'
            )
        if not math.isinf(value):  # which is none
            found[name] = value
    if found.get('max_velocity', 1) <= 0:  # as it is written where nobody has looked
        del found['max_velocity']
    if found.get('min_position', -1) >= found.get('max_position', 1):
        del found['min_position'], found['max_position']
    return found
