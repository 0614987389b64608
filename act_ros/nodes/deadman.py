"""The deadman: commands only while somebody says so."""

import time

from std_msgs.msg import Bool

from act_ros.control import Veto

MAX_AGE = 0.2  # [s]


class Deadman:
    """Knows whether commands are allowed by the newest message of `enable_topic`.

    Its age counts in steady time from its receipt: std_msgs/Bool has no stamp.

    :ivar topic: its full name.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._heard: tuple[bool, float] | None = None

    def forget(self) -> None:
        """An activation waits for whoever speaks first."""
        self._heard = None

    def hear(self, message: Bool) -> None:
        """Take in a message."""
        self._heard = (message.data, time.monotonic())

    @property
    def age(self) -> float | None:
        """Of the newest message [s]; None where there is none."""
        heard = self._heard
        return None if heard is None else time.monotonic() - heard[1]

    def veto(self) -> Veto | None:
        """Why no command is allowed now, or None.

        Who has not said anything yet is waited for; who has fallen silent is not there.
        """
        if self._heard is None:
            return Veto(f'enable_topic {self.topic} has said nothing', attended=True)
        value, since = self._heard
        if time.monotonic() - since > MAX_AGE:
            return Veto(
                f'enable_topic {self.topic} has said nothing for more than {MAX_AGE:g} s',
                attended=False,
            )
        return None if value else Veto(f'enable_topic {self.topic} says false', attended=True)
