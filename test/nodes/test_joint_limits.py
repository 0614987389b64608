"""Limits of single joints, as real parameters of a real node."""

from rcl_interfaces.msg import ParameterDescriptor
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters

from act_ros.config import task_file
from test.nodes.graph import NodeProcess

ROBOT = """
joint_limits:
  left_joint_1: {has_velocity_limits: true, max_velocity: 0.7, has_acceleration_limits: false,
                 max_acceleration: 0}
  head_pan: {has_velocity_limits: true, max_velocity: 3.0}
"""
FIRST = 'joint_limits.left_joint_1.'


def test_they_are_declared_described_and_set_one_by_one(graph, ckpt, tmp_path):
    (tmp_path / 'joint_limits.yaml').write_text(ROBOT)
    arguments = ['--ros-args', '--params-file', str(task_file('astrobench_dual_arm')),
                 '--params-file', str(tmp_path / 'joint_limits.yaml'), '-p', f'ckpt_dir:={ckpt}',
                 '-p', 'task.image_size:=[120, 160]', '-p', 'torch_threads:=1',
                 '-p', 'command_timeout:=5.0']  # fmt: skip
    node = NodeProcess(tmp_path / 'node.log', 'act_ros.nodes.main', arguments)
    try:
        node.wait_for('ready: unconfigured')
        node.wait_for('not of the action, and not used: head_pan')
        graph.configure(node)

        def value(name):
            return graph.call(GetParameters, GetParameters.Request(names=[name])).values[0]

        # MoveIt's file counts where it says something, the task's everywhere else.
        assert value(f'{FIRST}max_velocity').double_value == 0.7
        assert value(f'{FIRST}max_acceleration').double_value == 6.0
        listed = graph.call(ListParameters, ListParameters.Request(prefixes=['joint_limits']))
        assert f'{FIRST}max_step' in listed.result.names  # not given, and there to be set
        assert not [name for name in listed.result.names if 'head_pan' in name]
        asked = DescribeParameters.Request(names=[f'{FIRST}max_tracking_error'])
        descriptor: ParameterDescriptor = graph.call(DescribeParameters, asked).descriptors[0]
        assert 'the joint stops all commands' in descriptor.description

        # Live, each alone; what does not fit leaves the value as it is.
        assert graph.set_parameter(f'{FIRST}max_velocity', 0.5) == ''
        assert graph.set_parameter(f'{FIRST}max_step', 0.002) == ''
        assert value(f'{FIRST}max_velocity').double_value == 0.5
        off = graph.set_parameter(f'{FIRST}has_acceleration_limits', False)
        assert 'set joint_limits.left_joint_1.has_acceleration_limits to true' in off
        assert value(f'{FIRST}max_acceleration').double_value == 6.0
        assert graph.set_parameter(f'{FIRST}max_velocty', 0.5)  # nobody has declared it
    finally:
        node.close()
