"""The age of what commands rest on."""

from dataclasses import replace

from act_ros.parameters import Settings


def oldest_behind(settings: Settings, latency: float, passes: int = 2) -> float:
    """How old the newest observation behind the commands gets in normal running [s].

    When a chunk arrives, the one before is of an observation so many passes ago.

    :param latency: of a pass [s].
    """
    return passes * latency + 1 / settings.control_rate + settings.max_age


def patient(settings: Settings, latency: float) -> Settings:
    """The parameters with which the node would run: it refuses a time-out that is too short.

    :param latency: of a pass [s]; 0 for one that is there at once.
    """
    needed = oldest_behind(settings, latency) if latency else 0.0
    return replace(settings, command_timeout=max(settings.command_timeout, needed))


class Watchdog:
    """Expires when the newest observation behind the commands is older than the time-out.

    :param timeout: the oldest such observation [s].
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = round(timeout * 1e9)
        self.reset()

    def reset(self) -> None:
        """Forget the observations: nothing can expire until the next one."""
        self._observed: int | None = None

    @property
    def armed(self) -> bool:
        """Whether any observation stands behind the commands."""
        return self._observed is not None

    def feed(self, observed: int) -> None:
        """An observation of that time [ns] now stands behind the commands."""
        if self._observed is None or observed > self._observed:
            self._observed = observed

    def left(self, now: int) -> int:
        """Time until expiry [ns], negative after it; the whole time-out without observations."""
        return self._timeout - (now - self._observed if self._observed is not None else 0)

    def expired(self, now: int) -> bool:
        """Whether commands must end at a time [ns] of the same clock."""
        return self.left(now) < 0
