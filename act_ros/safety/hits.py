"""How often which limit has changed a command."""

from act_ros.safety.bounds import Bounds
from act_ros.safety.braking import ROUNDING
from act_ros.safety.layout import Layout
from act_ros.safety.passage import Motion, Passage


class Hits:
    """Counts by kind of limit and entry; what only rounding changed does not count.

    :param layout: of the action.
    :ivar actions: how many were changed, by whatever limits.
    """

    def __init__(self, layout: Layout) -> None:
        self._entries = [str(entry) for entry in layout.action]
        self._positions, self._velocities = layout.positions, layout.velocities
        kinds = 'range', 'step', 'velocity', 'acceleration'
        self._counts = {kind: [0] * len(self._entries) for kind in kinds}
        self.actions = 0
        self._changed = False  # the action that is being counted

    @property
    def by_entry(self) -> dict[str, dict[str, int]]:
        """Kind to entry to count, without zeros."""
        return {
            kind: {name: n for name, n in zip(self._entries, counts, strict=True) if n}
            for kind, counts in self._counts.items()
        }

    def count(self, bounds: Bounds, before: Motion, passage: Passage) -> None:
        """Take in what became of one action.

        :param before: the motion that there was.
        """
        self._changed = False
        after = passage.motion
        for i, target in enumerate(passage.targets):
            place, sent = self._positions[i], after.joints[i][0]
            if target != passage.ramped[i]:
                self._hit('range', place)
            _, _, step, _, slack = bounds.joints[i]
            if -slack <= sent - target <= slack:
                continue
            near, last = target, before.joints[i][0]
            if abs(target - last) > step + slack:
                near = last + step if target > last else last - step
                self._hit('step', place)
            if abs(near - sent) > slack:
                self._hit('acceleration', place)
        for i, wanted in enumerate(passage.speeds):
            sent = after.velocities[i]
            if sent == wanted or i in passage.of_steps:  # that has been counted
                continue
            place, (largest, change) = self._velocities[i], bounds.speeds[i]
            near = min(max(wanted, -largest), largest)
            if near != wanted:
                self._hit('velocity', place)
            if abs(near - sent) > ROUNDING * change:
                self._hit('acceleration', place)
        self.actions += self._changed

    def _hit(self, kind: str, place: int) -> None:
        self._counts[kind][place] += 1
        self._changed = True
