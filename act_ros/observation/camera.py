"""The newest frame of a camera."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from act_ros.errors import ObservationError
from act_ros.observation.arrival import Ageing, Arrival
from act_ros.observation.framing import Framing
from act_ros.observation.image import check_image
from act_ros.observation.senders import Senders

_FRAME = (0,)  # the one part of this input


class _Held(NamedTuple):
    """The newest frame; `changed` is the stamp of the first one with these very bytes [ns]."""

    message: Any
    arrival: Arrival
    changed: int


class Shown(NamedTuple):
    """What a camera shows at one instant.

    :ivar frame: its message, not decoded.
    :ivar stamp: that its age counts from [ns].
    :ivar fault: why it cannot be used, or ''.
    """

    frame: Any
    stamp: int
    fault: str


class CameraInput:
    """Keeps the newest frame of a camera; it is replaced as one object.

    :param name: of the camera.
    :param framing: what becomes of its frames.
    :param ageing: when a frame is too old.
    :param frozen: longest that it may send the same bytes [ns]; 0 = for ever.
    :ivar remarks: what was assumed, and what looks wrong but may not be; by what it is about.
    """

    def __init__(self, name: str, framing: Framing, ageing: Ageing, frozen: int) -> None:
        self._name, self._framing, self._ageing, self._frozen = name, framing, ageing, frozen
        self._held: _Held | None = None
        self._publishers = Senders(ageing.window)
        self._frame_ids = Senders(ageing.window)
        self.remarks: dict[str, str] = {}

    def put(self, message: Any, receipt: int, publisher: Hashable = None) -> bool:
        """Take in a message; the newest wins.

        :param receipt: when it arrived [ns].
        :param publisher: tells publishers apart; None where they are not known.
        :returns: whether it is of use.
        """
        if publisher is not None:
            self._publishers.hear(publisher, _FRAME, receipt)
        else:
            self._frame_ids.hear(message.header.frame_id, _FRAME, receipt)
            if self._frame_ids.contested:
                self.remarks['frames'] = (
                    f'{self._name} has two frame_ids by turns: do two cameras send it?'
                )
        held, arrival = self._held, self._ageing.arrival(message, receipt)
        if held is not None and arrival.header and arrival.header == held.arrival.header:
            # Nothing new has been seen, so it goes on ageing.
            self._held = held._replace(arrival=held.arrival.again(receipt))
            return True
        if not arrival.header and self._ageing.by_header:
            self.remarks['stamp'] = (
                f'{self._name} has no header stamp: its age counts from its receipt'
            )
        changed = arrival.stamp
        if self._frozen and held is not None and _same_bytes(message, held.message):
            changed = held.changed
        self._held = _Held(message, arrival, changed)
        return True

    def look(self, now: int) -> Shown:
        """What it shows at `now` [ns]."""
        held = self._held
        if held is None:
            return Shown(None, 0, f'{self._name} has not arrived')
        return Shown(held.message, held.arrival.stamp, self._fault(held, now))

    def stamp(self) -> int | None:
        """That the frame's age counts from [ns]; None where none has arrived."""
        held = self._held
        return None if held is None else held.arrival.stamp

    def _fault(self, held: _Held, now: int) -> str:
        late = self._ageing.lateness(held.arrival, now)
        if late is not None:
            return f'{self._name} {late.text}'
        if self._publishers.contest(_FRAME, now):
            return f'{self._name} is sent by two publishers by turns: end one of them'
        same = held.arrival.stamp - held.changed
        if self._frozen and same > self._frozen:
            return (
                f'{self._name} is frozen: the same picture for {same / 1e9:.1f} s, '
                f'frozen_timeout {self._frozen / 1e9:g} s'
            )
        try:
            coloured = check_image(held.message, self._framing)
        except ObservationError as error:
            return f'{self._name}: {error}'
        if not coloured:
            self.remarks['grey'] = (
                f'{self._name} sends grey pictures: red, green and blue are the same'
            )
        return ''


def _same_bytes(message: Any, other: Any) -> bool:
    a, b = np.frombuffer(message.data, np.uint8), np.frombuffer(other.data, np.uint8)
    # The noise of a camera that is alive shows at once; all of 640x480 takes 60 us.
    return np.array_equal(a[:4096], b[:4096]) and np.array_equal(a, b)
