"""An attempt at the task, message by message, whoever leads the arm."""

from collections.abc import Iterator
from typing import Any, Protocol

from act_ros.bags.bag import Recorded
from act_ros.sim.command import commanded
from act_ros.sim.expert import Expert
from act_ros.sim.feed import Feed
from act_ros.sim.world import World

START = 1_700_000_000_000_000_000  # receipt of what comes at time 0 of an attempt [ns]


class Pilot(Protocol):
    """Who leads the arm."""

    def hear(self, recorded: Recorded) -> None:
        """Take in what the robot has published."""
        ...

    def command(self, now: int) -> Any | None:
        """The sensor_msgs/JointState that is sent at a tick, if any.

        :param now: of the tick, as the receipts are [ns].
        """
        ...


class ExpertPilot:
    """The script, which needs no messages.

    :param world: that has just begun.
    :param feed: of that world; makes the messages.
    :param rate: of the ticks [Hz].
    """

    def __init__(self, world: World, feed: Feed, rate: float) -> None:
        self._expert = Expert(world, 1 / rate)
        self._feed, self._joints = feed, list(world.robot.joint_names)

    def hear(self, recorded: Recorded) -> None:
        """See `Pilot.hear`."""

    def command(self, now: int) -> Any:
        """See `Pilot.command`."""
        positions, velocities = self._expert.command((now - START) / 1e9)
        return self._feed.joint_state(now, self._joints, positions, velocities)


def act(
    world: World, feed: Feed, pilot: Pilot, topic: str, rate: float, seconds: float
) -> Iterator[Recorded]:
    """Let a pilot lead the arm of a world that has begun, as over a wire without delay.

    :param feed: of that world, begun too.
    :param topic: of the commands.
    :param rate: of the ticks [Hz].
    :returns: what is published and commanded, in the order of the receipts; after each message
        the world is at its time.
    """
    for tick in range(round(seconds * rate)):
        elapsed = round(tick * 1e9 / rate)
        for recorded in feed.until(elapsed):
            pilot.hear(recorded)
            yield recorded
        message = pilot.command(START + elapsed)
        if message is not None:
            world.command(elapsed / 1e9, *commanded(message, world.robot.joint_names))
            yield Recorded(topic, START + elapsed, message)
