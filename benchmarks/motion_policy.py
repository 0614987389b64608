"""A policy by rule, whose chunks disagree by a stated amount, and the path that it follows."""

from collections.abc import Mapping

import numpy as np

from act_ros.sim.robot import HOME, JOINT_COUNT, POSITION_LIMITS, VELOCITY_LIMITS

# The route.
REST = 1.0  # at the first pose: until the slowest pass has ended [s]
MOVES = 1.2, 2.4  # shortest and longest [s]
PAUSE = 0.4  # at each pose [s]
SPEED = 0.25  # fastest, as a share of the arm's limits
MARGIN = 0.15  # between poses and the ends of the range [rad; 1]
PEAK = 1.875  # of a move of minimum jerk, over its mean speed (Flash and Hogan 1985)
# The chunks.
RETURN = 1.0  # from where the arm is seen to the path [s]
CONSTANT = 0.016  # of a chunk's offset, its standard deviation [rad; 1]
DRIFT = 0.0416  # and that of its change along a chunk [rad; 1]

STATED: Mapping[str, float] = {
    'offset_mrad': round(1e3 * float(np.hypot(CONSTANT, DRIFT / np.sqrt(12))), 1),
    'offset_constant_mrad': 1e3 * CONSTANT,
    'offset_drift_mrad': 1e3 * DRIFT,
    'return_s': RETURN,
}


class Route:
    """Where the arm ought to be: at rest, then moves of minimum jerk, a pause after each.

    :param rng: makes the poses and the times.
    :param seconds: how long it is to last, at least; it stays at its last pose.
    :ivar ends: (moves,) when the arm ought to have come to a pose [s].
    """

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        starts, ends, poses, now = [], [], [HOME], REST
        low, high = POSITION_LIMITS[:, 0] + MARGIN, POSITION_LIMITS[:, 1] - MARGIN
        while now < seconds:
            duration = rng.uniform(*MOVES)
            farthest = SPEED / PEAK * VELOCITY_LIMITS * duration
            wanted = rng.uniform(low, high)
            poses.append(np.clip(wanted, poses[-1] - farthest, poses[-1] + farthest))
            starts.append(now)
            ends.append(now + duration)
            now += duration + PAUSE
        self._starts, self.ends = np.array(starts), np.array(ends)
        self._poses = np.array(poses)

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and velocities.

        :param times: (n,) [s].
        :returns: (n, joints) each.
        """
        move = np.maximum(np.searchsorted(self._starts, times, side='right') - 1, 0)
        duration = (self.ends - self._starts)[move]
        way, speed = minimum_jerk((times - self._starts[move]) / duration)
        change = self._poses[move + 1] - self._poses[move]
        positions = self._poses[move] + way[:, None] * change
        return positions, (speed / duration)[:, None] * change


class Expert:
    """Leads from where the arm is seen to the path, and errs in each chunk by another offset.

    :param route: where the arm ought to be.
    :param rng: makes the offsets.
    :param chunk_size: actions in a chunk.
    :param rate: of the actions [Hz].
    """

    def __init__(
        self, route: Route, rng: np.random.Generator, chunk_size: int, rate: float
    ) -> None:
        self._route, self._rng = route, rng
        self._times = np.arange(chunk_size) / rate
        way, speed = minimum_jerk(self._times / RETURN)
        self._left, self._leaving = 1 - way[:, None], -speed[:, None] / RETURN
        self._along = np.linspace(-0.5, 0.5, chunk_size)[:, None]
        self._lasts = max(self._times[-1], 1 / rate)

    def predict(self, seen: np.ndarray, now: float) -> np.ndarray:
        """A chunk.

        :param seen: (joints,) where the arm is.
        :param now: when it is seen there [s].
        :returns: (chunk_size, 2 * joints) positions, then velocities.
        """
        positions, velocities = self._route.at(now + self._times)
        away = seen - positions[0]
        constant, drift = self._rng.normal(size=(2, JOINT_COUNT)) * ((CONSTANT,), (DRIFT,))
        positions += away * self._left + constant + drift * self._along
        velocities += away * self._leaving + drift / self._lasts
        return np.concatenate((positions, velocities), axis=1)


def minimum_jerk(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far a move of minimum jerk has come, 0 to 1, and how fast it goes.

    :param share: of its duration; outside 0 to 1 it is at rest.
    """
    x = np.clip(share, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x * x), 30 * x * x * (1 - x) ** 2
