"""`lookout`: lets the launch files play a robot only in a graph that has none.

    lookout simulation              whether a simulated robot and its node may start
    lookout playback [COMMAND ...]  whether a recording may be played; plays it

Its parameters are the ACT node's: they say which topics are meant. What plays a recording is
ended when somebody else begins to publish what it publishes, or another ACT node comes.
"""

import contextlib
import subprocess
import sys

from act_ros import cli

EVERY = 0.5  # [s]
# Of the node that plays a recording: a name that nobody else has.
PLAYER = 'act_ros_player'


def main() -> int:
    """Look, play if there is something to play, and return the exit code."""
    cli.exit_at_once()
    cli.require_ros('lookout')
    # By hand: a remapping that is the player's would count for this node.
    words = sys.argv[1:]
    at = words.index('--ros-args') if '--ros-args' in words else len(words)
    role, *command = words[:at]
    cli.interrupt_on_signals()
    played = 0

    def work() -> None:
        nonlocal played
        played = lookout(role == 'playback', command, words[at:])

    return cli.run('lookout', work) or played


def lookout(playback: bool, command: list[str], ros_arguments: list[str]) -> int:
    """Look around, then run what plays the recording.

    :param playback: a recording is to be played; otherwise a robot is to be simulated.
    :param ros_arguments: of this node.
    :returns: the exit code of the command, 0 without one.
    :raises RivalError: somebody is there already, or has come.
    """
    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from act_ros.child import child
    from act_ros.interfaces import absolute, camera_inputs, parse_output, state_inputs
    from act_ros.nodes.dds import use_profile
    from act_ros.nodes.declare import declare_parameters, read_parameters
    from act_ros.nodes.rivals import (
        look_around,
        refuse_act_nodes,
        refuse_listeners,
        refuse_publishers,
    )  # fmt: skip
    from act_ros.task import Task

    use_profile()
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node('lookout')
        declare_parameters(node)
        settings = read_parameters(node)
        task = Task.from_settings(settings)
        given = {**camera_inputs(settings, task), **state_inputs(settings, task)}
        # `~` is the ACT node's.
        namespace = node.get_namespace()
        inputs = {absolute(topic, namespace) for topic, _ in given.values()}
        if playback:
            inputs.add('/clock')
        outputs = [
            absolute(parse_output(text, task).topic, namespace) for text in settings.outputs
        ]

        def check() -> None:
            refuse_publishers(node, inputs)
            if not playback:
                refuse_listeners(node, outputs)
            refuse_act_nodes(node, own=1 if command else 0)

        look_around(check)
        if not command:
            return 0
        with child(command) as process:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(EVERY)
                refuse_publishers(node, inputs, own=f'/{PLAYER}')
                refuse_act_nodes(node, own=1)
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
