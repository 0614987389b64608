"""From what is known of a robot to a parameter file for it, with what is open in it."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from act_ros.commissioning.draft.cameras import Camera, match_cameras
from act_ros.commissioning.draft.policy_side import PolicySide
from act_ros.commissioning.draft.proposal import Proposal, outputs_for
from act_ros.commissioning.draft.sighting import Sighting
from act_ros.commissioning.draft.urdf import Described, UrdfJoint, narrower
from act_ros.errors import listed
from act_ros.interfaces import INPUT_TYPES
from act_ros.parameter_file import quoted
from act_ros.parameters import LIMITED
from act_ros.parameters.joint_limits import joint_keys
from act_ros.task import Entry

CONFIRM, OPEN = 'CONFIRM', 'OPEN'
WIDTH = 99
COMMON_RATES = (10, 15, 20, 25, 30, 50, 60, 100)
FASTEST = 110.0  # of a policy [Hz]; what commands more often interpolates
OLDEST = 0.5  # of what a policy may act on, however seldom it comes [s]
# Of limits that no description has, what to think of.
ADVICE = {
    'max_acceleration': 'gentle at first: what max_velocity needs half a second for',
    'max_tracking_error': '.inf for a gripper that an object stops, else what the arm never lags',
}


@dataclass
class Draft:
    """A parameter file, and what a person has to do with it.

    :ivar confirm: what was guessed, a line each.
    :ivar open: what nobody has said.
    """

    lines: list[str] = field(default_factory=list)
    confirm: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return '\n'.join(self.lines) + '\n'

    def add(self, depth: int, text: str, remark: str = '') -> None:
        """A line, with a remark behind it."""
        line = '  ' * depth + text
        self.lines.append(f'{line}  # {remark}' if remark else line.rstrip())

    def note(self, depth: int, text: str) -> None:
        """A remark, in lines of its own."""
        indent = '  ' * depth + '# '
        # Whatever a name holds, it begins no line.
        text = ''.join(c if c.isprintable() else ' ' for c in text)
        self.lines += textwrap.wrap(
            text, WIDTH, initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        ) or [indent.rstrip()]  # fmt: skip

    def ask(self, depth: int, text: str) -> None:
        """What was guessed."""
        self.confirm.append(text)
        self.note(depth, f'{CONFIRM}: {text}')

    def leave_open(self, depth: int, text: str) -> None:
        """What is not known."""
        self.open.append(text)
        self.note(depth, f'{OPEN}: {text}')


def make_draft(
    name: str,
    sighting: Sighting,
    side: PolicySide,
    proposal: Proposal,
    description: Described,
    robot_limits: Mapping[str, float],
    made_of: Sequence[str],
) -> Draft:
    """Write the file.

    :param name: of the task.
    :param description: of a URDF; empty where there is none.
    :param robot_limits: of MoveIt's file, by parameter; empty where there is none.
    :param made_of: what it is made of, for people.
    """
    draft = Draft()
    draft.note(0, f'{name}, drafted by new_robot from {", ".join(made_of)}.')
    draft.note(0, '')
    draft.note(
        0,
        f'{CONFIRM} marks what was guessed: compare it with your training. {OPEN} marks what '
        f'nothing has said; without it the node does not begin. check_config tells whether the '
        f'rest fits. Units: metres, radians, seconds.',
    )
    draft.add(0, '/**:')
    draft.add(1, 'ros__parameters:')
    cameras = match_cameras(sighting, side)
    _write_task(draft, name, side, proposal, cameras)
    _write_topics(draft, proposal, cameras, sighting)
    _write_outputs(draft, sighting, proposal)
    _write_limits(draft, proposal, sighting, description, robot_limits)
    _write_rest(draft, sighting, side, proposal, cameras)
    return draft


def _write_task(
    draft: Draft, name: str, side: PolicySide, proposal: Proposal, cameras: Sequence[Camera]
) -> None:
    draft.add(2, 'task:')
    draft.add(3, f'name: {quoted(name)}')
    draft.add(0, '')
    if not cameras:
        draft.leave_open(3, 'the cameras, in the order of training: none is seen')
    elif not side.cameras:
        draft.ask(3, 'the cameras, in the order of training')
    elif side.ckpt_dir or side.dataset:
        draft.note(3, 'In the order of training.')
    draft.add(3, f'cameras: [{", ".join(quoted(c.name) for c in cameras)}]')
    sizes = [camera.size for camera in cameras]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or not sizes:
        draft.leave_open(3, 'height and width of the images that the policy was trained with')
        draft.add(3, '# image_size: [480, 640]')
    else:
        if not all(side.cameras.values()) or not side.cameras:
            draft.ask(3, 'the image size, which is that of the frames that were seen')
        one = known[:1] if len(set(known)) == 1 else known
        flat = ', '.join(str(number) for size in one for number in size)
        draft.add(3, f'image_size: [{flat}]', 'height, width [px]')
    for what, entries in (('state', proposal.state), ('action', proposal.action)):
        draft.add(0, '')
        if not entries:
            draft.leave_open(3, f'task.{what}, a list of SOURCE/JOINT/position: no joint is seen')
        elif proposal.sure:
            draft.note(3, f'The order is that {proposal.why}.')
        else:
            draft.ask(
                3,
                f'the order of task.{what}, which is that {proposal.why}; it has to be that of '
                f'the training',
            )
        for doubt in proposal.doubts:
            # What is of both is told once.
            of = doubt.split()[0] if doubt.startswith('task.') else 'task.state'
            if of == f'task.{what}':
                draft.leave_open(3, doubt)
        draft.add(3, f'{what}:' if entries else f'{what}: []')
        for entry in entries:
            draft.add(4, f'- {quoted(entry.text)}')
    draft.add(0, '')


def _write_topics(
    draft: Draft, proposal: Proposal, cameras: Sequence[Camera], sighting: Sighting
) -> None:
    for camera in cameras:
        if not camera.topic and sighting.topics:
            draft.leave_open(2, f'no topic is like the camera {camera.name!r}')
        elif not camera.topic:
            draft.ask(2, f'the topic of the camera {camera.name!r}')
        elif camera.seen is not None and camera.size not in (None, camera.seen.size):
            found, wanted = camera.seen.size, camera.size
            draft.leave_open(
                2,
                f'{camera.name} sends {_px(found)}, and the policy takes {_px(wanted)}: let the '
                f'camera send that, or see image_resize and camera_crops',
            )
    sources = dict.fromkeys(entry.source for entry in proposal.state)
    used = {camera.topic for camera in cameras} | {proposal.topics.get(s, '') for s in sources}
    for topic, seen in sighting.topics.items():
        if seen.type in INPUT_TYPES.values() and topic not in {*used, *sighting.commands()}:
            draft.note(2, f'Not used: {topic} ({seen.type})')
    topics = [camera.topic or f'{camera.name}/image_raw' for camera in cameras]
    draft.add(2, f'camera_topics: [{", ".join(map(quoted, topics))}]')
    kinds = [c.seen.type.rpartition('/')[2] if c.seen is not None else 'Image' for c in cameras]
    if set(kinds) - {'Image'}:
        draft.add(2, f'camera_types: [{", ".join(kinds)}]')
    if sources and not sighting.states():
        draft.ask(2, 'the topics of the joint states')
    topics = [proposal.topics.get(source, f'{source}/joint_states') for source in sources]
    draft.add(2, f'state_topics: [{", ".join(map(quoted, topics))}]')
    kinds = [proposal.types.get(source, 'JointState') for source in sources]
    if set(kinds) - {'JointState'}:
        draft.add(2, f'state_types: [{", ".join(kinds)}]')
    if 'Odometry' in kinds:
        draft.leave_open(2, 'twist_frame, the frame in which the policy wants the velocity')
    draft.add(0, '')


def _px(size: tuple[int, int] | None) -> str:
    return 'x'.join(map(str, size or ()))


def _write_outputs(draft: Draft, sighting: Sighting, proposal: Proposal) -> None:
    outputs = outputs_for(sighting, proposal.action)
    named = {text.split()[0] for text in outputs}
    for topic, seen in sighting.commands().items():
        if topic not in named:
            draft.ask(2, f'that the policy commands nothing on {topic} ({seen.type})')
    if outputs:
        draft.ask(2, 'where commands go, and as what')
        draft.add(2, 'outputs:')
        for text in outputs:
            draft.add(3, f'- {quoted(text)}')
    else:
        draft.leave_open(2, 'where commands go: TOPIC TYPE [PATTERN ...], see docs/robot.md')
        draft.add(2, '# outputs: [arm_controller/commands Float64MultiArray arm/*/position]')
    draft.note(2, 'Commands go to ~/dry_run/TOPIC only. Look at them there before you say false.')
    draft.add(2, 'dry_run: true')
    draft.add(0, '')


def _write_limits(
    draft: Draft,
    proposal: Proposal,
    sighting: Sighting,
    description: Described,
    robot_limits: Mapping[str, float],
) -> None:
    joints = dict.fromkeys((entry.source, entry.name) for entry in proposal.action)
    if not joints:
        return
    described = description.joints
    for fault in description.faults:
        if description.joints:
            draft.note(2, f'Not used: {fault}')
        else:
            draft.leave_open(2, f'the limits: {fault}; --urdf takes a file in its place')
    quantities = {(e.source, e.name): e.quantity for e in reversed(proposal.action)}
    turning = [f'{s}/{n}/position' for s, n in joints
               if n in described and described[n].continuous]  # fmt: skip
    if turning:
        draft.ask(2, 'these turn for ever, and their driver takes a turn further as the same')
        draft.add(2, f'continuous: [{", ".join(map(quoted, turning))}]')
    draft.note(2, 'How far and how fast a mistake of the policy may move a joint.')
    given = {name: _limits_of(name, described, robot_limits) for _, name in joints}
    draft.add(2, 'joint_limits:' if any(given.values()) else '# joint_limits:')
    lacking: dict[str, list[str]] = {}
    for (source, joint), key in joint_keys(joints).items():
        limits = given[joint]
        draft.add(3, f'{quoted(key)}:' if limits else f'# {quoted(key)}:')
        seen = _range_of(sighting, joint)
        if seen:
            draft.note(4, seen)
        positioned = quantities[source, joint] == 'position'
        for limit in LIMITED if positioned else ('max_velocity', 'max_acceleration'):
            if limit in limits:
                draft.add(4, f'{limit}: {_number(limits[limit])}')
            elif limit != 'max_step':
                lacking.setdefault(limit, []).append(key)
                draft.add(4, f'# {limit}:', OPEN)
    for limit, keys in lacking.items():
        advice = f' ({ADVICE[limit]})' if limit in ADVICE else ''
        draft.open.append(f'{limit} of {listed(keys)}{advice}')
    draft.add(0, '')


def _limits_of(
    joint: str, description: Mapping[str, UrdfJoint], robot_limits: Mapping[str, float]
) -> dict[str, float]:
    """What is known of a joint: of two limits the narrower."""
    known = dict(description[joint].limits) if joint in description else {}
    if joint in description and description[joint].continuous:
        known |= {'min_position': -math.inf, 'max_position': math.inf}
    others = {limit: robot_limits.get(f'joint_limits.{joint}.{limit}') for limit in LIMITED}
    return narrower(known, {name: value for name, value in others.items() if value is not None})


def _range_of(sighting: Sighting, joint: str) -> str:
    """Where a joint was seen, for a remark."""
    for seen in sighting.states().values():
        where = seen.joints.get(joint, {}).get('position')
        if where is not None and where.least > where.most:
            return 'Seen without a number.'
        if where is not None:
            return f'Seen at {where.least:.4g} to {where.most:.4g}.'
    return ''


def _number(value: float) -> str:
    if math.isinf(value):
        return '.inf' if value > 0 else '-.inf'
    return repr(float(value))


def _write_rest(
    draft: Draft,
    sighting: Sighting,
    side: PolicySide,
    proposal: Proposal,
    cameras: Sequence[Camera],
) -> None:
    if side.ckpt_dir:
        draft.add(2, f'ckpt_dir: {quoted(side.ckpt_dir)}')
    rate, why = side.rate, ''
    if rate is None:
        rate, why = _guess_rate(sighting, cameras)
    if why:
        draft.ask(2, f'control_rate, which is {why}; it has to be that of the training')
    draft.add(2, f'control_rate: {rate!r}')
    rates = [c.seen.rate for c in cameras if c.seen is not None and c.seen.rate]
    topics = {proposal.topics.get(entry.source) for entry in proposal.state}
    rates += [s.rate for topic, s in sighting.states().items() if s.rate and topic in topics]
    slowest = min(rates, default=0.0)
    if slowest and 1.5 / slowest > OLDEST:
        draft.leave_open(
            2, f'max_age, 0.1 s if it is not set: the slowest input comes {slowest:.3g} times a '
            f'second, too seldom to act on'
        )  # fmt: skip
    elif slowest and 1.5 / slowest > 0.1:
        age = math.ceil(15 / slowest) / 10
        draft.ask(2, f'max_age, for the slowest input comes {slowest:.3g} times a second')
        draft.add(2, f'max_age: {age!r}')


def _guess_rate(sighting: Sighting, cameras: Sequence[Camera]) -> tuple[float, str]:
    """A policy's steps a second, and where that is from."""
    commanded = max((seen.rate for seen in sighting.commands().values()), default=0.0)
    if 1 <= commanded <= FASTEST:
        return _common(commanded), 'that of the commands that were seen'
    shown = max((c.seen.rate for c in cameras if c.seen is not None), default=0.0)
    if commanded > FASTEST and 1 <= shown <= FASTEST:
        return _common(shown), (
            f'that of the cameras: {commanded:.4g} commands a second are of what interpolates '
            f'between the steps (see command_rate)'
        )
    return 50.0, 'a guess'


def _common(rate: float) -> float:
    """The usual rate that is nearest, if one is near."""
    nearest = min(COMMON_RATES, key=lambda common: abs(common - rate))
    return float(nearest) if abs(nearest - rate) < 0.1 * rate else round(rate, 1)


def reordered(entries: Sequence[Entry], numbers: Sequence[int]) -> list[Entry]:
    """Entries in another order, by their numbers from 1 on."""
    return [entries[number - 1] for number in numbers]


def confirmed(proposal: Proposal, state: Sequence[Entry], action: Sequence[Entry]) -> Proposal:
    """With the order that a person has said."""
    return replace(proposal, state=state, action=action, why='that you have confirmed', sure=True)
