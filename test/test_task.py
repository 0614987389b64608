"""What a robot is to the policy, and the files that say it."""

from dataclasses import replace

import numpy as np
import pytest

from act_ros.config import CONFIG_DIR, TASKS, load_task, task_file
from act_ros.errors import ActError, ParameterError, TaskError
from act_ros.parameter_file import parse_parameter_file, read_parameter_file
from act_ros.parameters import LIMITED, PARAMETERS, Blending, JointLimits, Settings
from act_ros.task import Entry, Task


def test_the_deployed_task_is_as_documented():
    task = load_task('astrobench_dual_arm')
    assert task.cameras == ('rgb_main', 'rgb_left', 'rgb_under')
    assert (task.state_dim, task.action_dim) == (17, 16)
    assert task.image_size == (480, 640)
    assert [str(entry) for entry in task.state[:9]] == [
        'base/x/position', 'base/y/position', 'base/z/position',
        'base/x/velocity', 'base/y/velocity', 'base/z/velocity',
        'base/roll/velocity', 'base/pitch/velocity', 'base/yaw/velocity',
    ]  # fmt: skip
    assert [entry.quantity for entry in task.action] == ['position'] * 8 + ['velocity'] * 8
    assert task.sources == ('base', 'arm')


@pytest.mark.parametrize('name', TASKS)
def test_the_task_file_says_every_parameter_and_its_default(name):
    path = task_file(name)
    values = Settings.from_parameters(parse_parameter_file(path)['/**'])
    unset = {key for key, row in PARAMETERS.items() if row.default is None}
    said = parse_parameter_file(path)['/**'].keys()
    assert PARAMETERS.keys() - unset == {
        name for name in said if not name.startswith('joint_limits.')
    }
    named = {name.rpartition('.')[2] for name in said if name.startswith('joint_limits.')}
    assert named == {*LIMITED} - {'max_step'}
    for key in unset:
        default = getattr(Blending(), key)
        assert f'\n    # {key}: {str(default).lower()}  ' in path.read_text()
    for key, row in PARAMETERS.items():
        if row.default not in ((), None) and not key.startswith(('task.', 'outputs')):
            assert getattr(values, row.attribute) == row.default, key


def test_an_entry_may_have_other_units_than_the_robot():
    entry = Entry.parse('arm/gripper/position scale=0.5 offset=-0.1')
    assert (entry.source, entry.name, entry.quantity) == ('arm', 'gripper', 'position')
    task = Task('t', ('c',), (entry,), (entry,), 50.0, (10, 10))
    # policy = scale * robot + offset, so robot 0.8 is policy 0.3.
    np.testing.assert_allclose(task.to_robot([0.3]), [0.8])


@pytest.mark.parametrize(
    'text', ['a/b/position', 'a/b c/velocity scale=0.04', 'a/b/position scale=-2.5 offset=0.1']
)
def test_an_entry_is_written_as_it_is_read(text):
    assert Entry.parse(text).text == text


@pytest.mark.parametrize(
    'name',
    ['panda/joint1', 'joint 1', 'arm/joint 1', '/tf1/style', 'a  b', 'joint[0]', 'scale=2',
     'a=b c', 'position', 'x/position', 'ends/', "o'clock", 'Gelenk_ä', 'a scale=2 b'],
)  # fmt: skip
@pytest.mark.parametrize('options', ['', ' scale=2 offset=-1', '  offset=-1\tscale=2 '])
def test_a_joint_may_be_called_what_a_urdf_permits(name, options):
    text = f'arm/{name}/velocity'
    scale, offset = (2, -1) if options else (1, 0)
    entry = Entry.parse(text + options)
    assert entry == Entry('arm', name, 'velocity', scale, offset)
    assert str(entry) == text


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('arm/joint', 'is not of the form'),
        ('joint', 'is not of the form'),
        ('', 'is not of the form'),
        (3, 'is not of the form'),
        ('arm//position', 'is not of the form'),
        ('/arm/joint/position', 'is not of the form'),
        ('my arm/joint/position', 'is not of the form'),
        ('arm/ joint/position', 'is not of the form'),
        ('arm/a\nb/position', 'is not of the form'),
        ('arm/joint/effort', "asks for 'effort'"),
        ('arm/panda/joint1', "asks for 'joint1'; expected one of position, velocity at its end"),
        ('a/b/position gain=2', "asks for 'position gain=2'"),
        ('scale=2 a/b/position', 'is not of the form'),
        ('a/b/position scale=0', 'not 0'),
        ('a/b/position scale=x', 'are numbers'),
        ('a/b/position scale=1/2', 'are numbers'),
        ('a/b/position scale=', 'are numbers'),
        ('a/b/position offset=nan', 'offset finite'),
        ('a/b/position scale=2 offset=1 scale=3', 'gives scale twice'),
    ],
)
def test_an_entry_that_is_none_is_named(text, message):
    with pytest.raises(TaskError, match=f'task entry .*{message}'):
        Entry.parse(text)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'task_cameras': ()}, "'task.cameras' is not set"),
        ({'task_cameras': ['a', 'a']}, "cameras lists 'a' twice"),
        ({'task_state': ['a/b/position'] * 2}, "state lists 'a/b/position' twice"),
        ({'task_image_size': [480]}, r'image_size is .480.; expected .height, width'),
    ],
)
def test_a_task_that_does_not_fit_is_named(change, message):
    settings = replace(read_parameter_file(task_file('astrobench_dual_arm')), **change)
    with pytest.raises(TaskError, match=message):
        Task.from_settings(settings)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('act: [', 'cannot read parameter file'),
        ('[]', "has no '/..: ros__parameters:'"),
        ('act: {decay: 1.0}', "line 1: 'decay' stands before 'ros__parameters:'"),
        ('ros__parameters: {decay: 1.0}', "'ros__parameters' stands below no node"),
        ('/**: {ros__parameters: {}}', 'has no parameters'),
        ('/**: {ros__parameters: {control_rat: 5.0}}', "'control_rat'; did you mean 'control_ra"),
        ('/**: {ros__parameters: {decay: fast}}', "'decay' is 'fast'; expected a number"),
        ('/**: {ros__parameters: {decay: .nan}}', "'decay' is nan; expected -10 to 10"),
        ('/**: {ros__parameters: {control_rate: 0.0}}', 'expected 1 to 500 Hz'),
        ('/**: {ros__parameters: {autostart: 1}}', "'autostart' is 1; expected true or false"),
        ('/**: {ros__parameters: {inference: maybe}}', 'one of asynchronous, synchronous'),
        ('/**: {ros__parameters: {task: {cameras: main}}}', 'expected a list of text'),
        ('/**: {ros__parameters: {task: {image_size: [1.5, 2]}}}', 'mixes whole numbers'),
        ('/**: {ros__parameters: {task: {image_size: [1.5, 2.0]}}}', 'expected a whole number'),
        ('/**: {ros__parameters: &p {task: *p}}', r'line 1: \*p refers to another place'),
        ('[' * 1500, 'cannot read'),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_named(tmp_path, text, message):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    with pytest.raises(ParameterError, match=message) as caught:
        read_parameter_file(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_section_of_the_node_counts_over_the_general_one(tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text(
        '/robot/act: {ros__parameters: {decay: 0.5}}\n'
        '/**: {ros__parameters: {decay: 0.1, control_rate: 25}}\n'
        'sim_robot: {ros__parameters: {unrelated: 1}}\n'
    )
    values = read_parameter_file(path)
    assert (values.decay, values.control_rate) == (0.5, 25.0)


def test_every_shipped_file_is_read():
    for path in CONFIG_DIR.glob('*.yaml'):
        if not path.stem.endswith('_recipe'):  # of a training
            read_parameter_file(path)


def test_an_unknown_task_is_named():
    with pytest.raises(ActError, match="unknown task 'x'; shipped: astrobench_dual_arm"):
        load_task('x')


def test_defaults_stand_in_the_table_once():
    settings = Settings()
    assert settings.command_timeout == 0.5
    assert 'task.cameras' not in settings.parameters()
    assert Settings.from_parameters(settings.parameters()) == settings


def test_settings_are_never_wrong():
    with pytest.raises(ParameterError, match=r"'decay' is -11\.0; expected -10 to 10"):
        Settings(decay=-11)
    with pytest.raises(ParameterError, match="'outputs' is 'x'; expected a list of text"):
        replace(Settings(), outputs='x')
    assert JointLimits(min_position=1).min_position == 1.0
    with pytest.raises(ParameterError, match="'max_velocity' is 'x'; expected a number"):
        JointLimits(max_velocity='x')
