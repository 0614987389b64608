"""Parameter files mean to every program what they mean to rcl, which is asked here itself."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from act_ros.config import CONFIG_DIR
from act_ros.errors import ParameterError
from act_ros.parameter_file import (
    as_one_file,
    as_rcl_reads,
    named_in,
    parse_parameter_file,
    read_parameter_file,
    read_raw_parameters,
)

SCALARS = [
    '3e-1', '5e+0', '1e2', '1E2', '1.5E-3', '+.5', '-.5', '.5', '5.', '+7', '-0', '0', '00',
    '010', '-010', '08', '09.5', '0x10', '-0X1f', '0x', '0x1p3', '0x1.8p-1', '0x.p1', '0b101',
    '0o17', '1_000', '1:30', '1:30:15', '2001-01-01', '2001-01-01 10:00:00', '~', 'null', 'Null',
    'nan', 'NaN', 'nan(1)', 'inf', '-inf', '+Infinity', 'INFINITY', 'infinite', '.inf', '-.Inf',
    '+.INF', '.iNf', '.nan', '.NaN', '.NAN', '-.nan', '.nAn', '9223372036854775807',
    '9223372036854775808', '-9223372036854775808', '-9223372036854775809', '1e400', '-1e400',
    '1e308', '1e-320', '1e-400', '0e-400', '0x1p2000', '1e', 'e1', '.', '+', '--1', '1 2',
    '1,5', '1.2.3', '=', '<<', 'y', 'Y', 'yes', 'Yes', 'YES', 'yEs', 'n', 'No', 'on', 'On', 'ON',
    'off', 'OFF', 'true', 'True', 'TRUE', 'tRue', 'false', 'False', 't', 'f', 'T',
    "''", '""', "'1e2'", '"5"', "'y'", "'.inf'", '"a\\tb"', "'it''s'", '!!str 5', '!!str y',
    '! 5', '!!float 5', '!!int "5"', '!!bool 1', '!custom 5', '|\n      5', '>-\n      5',
    '|-\n      y', 'text', 'two words', 'a#b', 'a: b'.replace(': ', ':'), './ckpt', '~/ckpt',
    '[1, 2]', '[1.0, 2.0]', '[1e0, 2e-1]', '[a, b]', "['1', '2']", '[y, off]', '[]',
]  # fmt: skip


@pytest.fixture(scope='module')
def rcl():
    """What rcl makes of a parameter file, by asking a node."""
    rclpy = pytest.importorskip('rclpy', reason='rclpy is not importable')
    from rclpy.node import Node

    names = map('oracle_{}'.format, itertools.count())

    def read(path):
        context = rclpy.Context()
        rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context)
        try:
            node = Node(next(names), context=context, start_parameter_services=False)
            found = {name: p.value for name, p in node._parameter_overrides.items()}
            node.destroy_node()
        finally:
            context.try_shutdown()
        # An array, and an empty list, as a list.
        return {
            name: value if isinstance(value, bool | int | float | str) else list(value or ())
            for name, value in found.items()
        }

    return read


def write(path, parameters, section='/**'):
    path.write_text(f'{section}:\n  ros__parameters:\n{parameters}')
    return path


def test_every_scalar_is_what_rcl_reads(rcl, tmp_path):
    lines = ''.join(f'    p{i}: {text}\n' for i, text in enumerate(SCALARS))
    path = write(tmp_path / 'p.yaml', lines)
    ours, theirs = parse_parameter_file(path)['/**'], rcl(path)
    assert len(theirs) == len(SCALARS)
    for i, text in enumerate(SCALARS):
        # By repr, so that nan is nan and 1 is neither 1.0 nor true.
        assert repr(ours[f'p{i}']) == repr(theirs[f'p{i}']), text


@settings(max_examples=20, deadline=None)
@given(st.lists(st.from_regex(r'[-+.0-9a-fxXeEpP_]{1,8}', fullmatch=True), min_size=30))
def test_whatever_looks_like_a_number_is_what_rcl_reads(rcl, tmp_path_factory, texts):
    texts = [text for text in texts if text.strip('-') and not text.startswith('...')]
    path = tmp_path_factory.mktemp('p') / 'p.yaml'
    write(path, ''.join(f'    p{i}: {text}\n' for i, text in enumerate(texts)) or '    a: 1\n')
    ours, theirs = parse_parameter_file(path)['/**'], rcl(path)
    assert {k: repr(v) for k, v in ours.items()} == {k: repr(v) for k, v in theirs.items()}


def test_what_rcl_reads_is_read(rcl, tmp_path):
    text = (
        '    task: {name: x, image_size: [0x10, 020]}\n'
        '    task.cameras: [on_board, "off"]\n'
        '    decay: 2.5e-1\n'
        '    joint_limits: {a b: {max_velocity: 1e0}, c/d.e: {min_position: -.5}}\n'
    )
    path = write(tmp_path / 'p.yaml', text)
    assert parse_parameter_file(path)['/**'] == rcl(path)
    found = read_parameter_file(path)
    assert found.task_image_size == (16, 16)
    assert found.task_cameras == ('on_board', 'off')
    assert found.decay == 0.25
    assert found.joint_limits['a b'].max_velocity == 1.0
    assert found.joint_limits['c/d.e'].min_position == -0.5


# A recipe of training is for no node.
SHIPPED = [path for path in sorted(CONFIG_DIR.rglob('*.yaml')) if 'recipe' not in path.name]


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.name)
def test_shipped_files_are_what_rcl_reads(rcl, path):
    assert parse_parameter_file(path)['/**'] == rcl(path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('    numbers: [1.5, 2, 2.5]\n', r"line 3: 'numbers' mixes .*\(2 as 2\.0\)"),
        ('    numbers: [-1, .inf]\n', r'\(-1 as -1\.0\)'),
        ('    outputs: [a, 1]\n', "'outputs' mixes int and text, .*quote what is text"),
        ('    outputs: [a, on]\n', "'outputs' mixes bool and text"),
        ('    outputs: [[a], [b]]\n', "'outputs' is a list in a list"),
        ('    decay:\n', "line 3: 'decay' has no value; write ''"),
        ('    outputs: [a, ]\n    decay: \n', "line 4: 'decay' has no value"),
        ('    a: &x 1\n    b: *x\n', r'line 4: \*x refers to another place'),
        ('    <<: *x\n', r'line 3: \*x refers|undefined alias'),
        ('    ? [a]\n    : 1\n', 'line 3: a name is expected here'),
    ],
)
def test_what_rcl_refuses_is_refused_with_the_remedy(rcl, tmp_path, text, message):
    path = write(tmp_path / 'p.yaml', text)
    with pytest.raises(ParameterError, match=message) as caught:
        parse_parameter_file(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)
    with pytest.raises(Exception, match='params file'):
        rcl(path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('    decay: 1\n    decay: 0.5\n', r"line 4: 'decay' is set twice below '/..'"),
        ('    task: {name: x}\n    task.name: y\n', "'task\\.name' is set twice"),
        ('    decay: 1\n/**:\n  ros__parameters: {decay: 2}\n', "'decay' is set twice"),
        ('    outputs: [{a: b}]\n', "'outputs' is a list in a list"),
    ],
)
def test_what_rcl_reads_as_it_likes_is_refused(tmp_path, text, message):
    with pytest.raises(ParameterError, match=message):
        parse_parameter_file(write(tmp_path / 'p.yaml', text))


def test_namespaces_may_be_nested(rcl, tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text('/left:\n  act:\n    ros__parameters: {decay: 1e-1}\n')
    assert parse_parameter_file(path) == {'/left/act': {'decay': 0.1}}
    assert read_parameter_file(path).decay == 0.1


@pytest.mark.parametrize('text', ['decay: 1e-1000', "decay: '0.5'", 'decay: 1_0', 'autostart: t'])
def test_text_is_no_number(tmp_path, text):
    with pytest.raises(ParameterError, match='expected'):
        read_parameter_file(write(tmp_path / 'p.yaml', f'    {text}\n'))


def test_an_empty_list_is_a_list_that_is_not_set(tmp_path):
    path = write(tmp_path / 'p.yaml', '    unlimited: []\n    task: {cameras: []}\n')
    assert read_parameter_file(path).parameters() == read_parameter_file(
        write(tmp_path / 'q.yaml', '    fade: 0.4\n')
    ).parameters()
    with pytest.raises(ParameterError, match=r"'decay' is .*expected a number"):
        read_parameter_file(write(path, '    decay: []\n'))


def test_the_files_of_a_command_line_are_found():
    argv = ['act_node', '--ros-args', '--params-file', 'a.yaml', '-p', 'decay:=1',
            '--params-file', 'b.yaml']  # fmt: skip
    assert [path.name for path in named_in(argv)] == ['a.yaml', 'b.yaml']


ROBOT = """
default_velocity_scaling_factor: 0.1
default_acceleration_scaling_factor: 0.1
joint_limits:
  elbow:
    has_position_limits: true
    min_position: !degrees -90
    max_position: !degrees 90.0
    has_velocity_limits: true
    max_velocity: 2
    has_acceleration_limits: false
    max_acceleration: 0
    has_jerk_limits: false
    max_jerk: 0.0
    max_effort: 150.0
  neck:
    max_velocity: 1.0
"""
TASK = "    task: {cameras: [c], action: ['arm/elbow/position scale=2', 'arm/hand/position']}\n"

MY_OWN = '    joint_limits: {elbow: {max_acceleration: 5.0}}\n'


def moveits(tmp_path, text=ROBOT):
    path = tmp_path / 'joint_limits.yaml'
    path.write_text(text)
    return path


def test_a_file_of_moveit_gives_the_joints_of_the_action_their_limits(tmp_path, caplog):
    own = write(tmp_path / 'own.yaml', TASK + MY_OWN)
    caplog.set_level('INFO')
    for order in ((own, moveits(tmp_path)), (moveits(tmp_path), own)):
        caplog.clear()
        limits = read_parameter_file(*order).joint_limits
        assert limits.keys() == {'elbow'}
        # Where it says that it has none, the other file counts.
        assert limits['elbow'].given == pytest.approx({
            'min_position': -1.5708, 'max_position': 1.5708, 'max_velocity': 2.0,
            'max_acceleration': 5.0,
        }, abs=1e-4)  # fmt: skip
        said = [record.getMessage() for record in caplog.records]
        assert said == [f'{tmp_path}/joint_limits.yaml: not of the action, and not used: neck']


def test_a_node_gets_a_file_of_moveit_as_rcl_reads_it(rcl, tmp_path):
    own, robot = write(tmp_path / 'own.yaml', TASK), moveits(tmp_path)
    argv = ['act_node', '--ros-args', '--params-file', str(own), '--params-file', str(robot),
            '-p', 'decay:=1.0']  # fmt: skip
    with as_rcl_reads(argv) as words:
        assert [word for word in words if word not in argv] == [words[5]]
        found = rcl(words[5])
    assert found == {k: v for k, v in read_raw_parameters(own, robot).items() if 'elbow' in k}
    assert len(found) == 3
    with as_rcl_reads(argv[:4]) as words:
        assert words == argv[:4]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('joint_limits: {elbow_joint: {max_velocity: 1.0}}', "has limits of elbow_joint, and none "
         "is a joint of the action; name them as it does, 'elbow' for one"),
        ('joint_limits: {elbow: {max_velocty: 1.0}}', "did you mean 'joint_limits.elbow.max_velo"),
        ('joint_limits: {elbow: {max_velocity: fast}}', "is 'fast'; expected a number"),
        ('joint_limits: {elbow: {max_velocity: !degrees fast}}', 'could not convert'),
        ('joint_limits: {max_velocity: 1.0}', 'names no joint'),
        ('joint_limits: 3', "'joint_limits' stands before 'ros__parameters:'"),
        ('joint_limits: {elbow: {max_velocity: 1.0}}\ndecay: 1.0', "'decay' stands beside 'join"),
        ('joint_limits: {}', 'has no parameters'),
    ],
)  # fmt: skip
def test_a_file_of_moveit_that_does_not_fit_is_refused(tmp_path, text, message):
    own, robot = write(tmp_path / 'own.yaml', TASK), moveits(tmp_path, text)
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameter_file(own, robot)
    assert str(robot) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_degrees_that_rcl_would_take_for_radians_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r'line 3: .*marked !degrees.* write it in radians'):
        parse_parameter_file(write(tmp_path / 'p.yaml', '    decay: !degrees 5\n'))


def test_several_files_are_written_as_one(tmp_path):
    own, robot = write(tmp_path / 'own.yaml', TASK + '    # mine\n'), moveits(tmp_path)
    assert as_one_file(own) == own.read_text()
    one = tmp_path / 'one.yaml'
    one.write_text(as_one_file(own, robot))
    assert read_parameter_file(one) == read_parameter_file(own, robot)
