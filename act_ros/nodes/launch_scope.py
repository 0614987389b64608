"""Where in a launch something is started: its namespace, remappings, arguments, environment.

And that all of it ends with a part of it.
"""

from collections.abc import Callable, Iterable

from launch import LaunchContext
from launch.action import Action
from launch.actions import EmitEvent, GroupAction, OpaqueFunction
from launch.events import Shutdown
from launch.events.process import ProcessExited


def same_scope(context: LaunchContext) -> Callable[[Iterable[Action]], Action]:
    """What runs actions later as if they were run now.

    An event handler runs when the group that it stands in has been left.
    """
    configurations = dict(context.launch_configurations)
    environment = dict(context.environment)

    def enter(later: LaunchContext) -> None:
        later.launch_configurations.clear()
        later.launch_configurations.update(configurations)
        later.environment.clear()
        later.environment.update(environment)

    return lambda actions: GroupAction([OpaqueFunction(function=enter), *actions])


def ends_all(reason: str) -> Callable[[ProcessExited, LaunchContext], list[Action]]:
    """What ends the launch where a process has ended.

    Unless it ends already, as on Ctrl-C: launch_ros fails when it is told so twice.
    """

    def end(event: ProcessExited, context: LaunchContext) -> list[Action]:
        return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason=reason))]

    return end
