"""Where in a launch something is started: its namespace, remappings, arguments, environment."""

from collections.abc import Callable, Iterable

from launch import LaunchContext
from launch.action import Action
from launch.actions import GroupAction, OpaqueFunction


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
