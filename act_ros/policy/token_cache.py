"""The tokens of the cameras' last frames: one that has not changed is not encoded again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from act_ros.policy.engine import Engine


@dataclass
class _Seen:
    """A frame, in a copy that nobody else writes to, and its tokens once they are there."""

    frame: np.ndarray
    tokens: Any = None


class TokenCache:
    """Turns frames into tokens, each frame of a camera once.

    Frames are compared byte by byte with the camera's last, never by their stamps: at 30
    frames and 50 ticks a second two of five are the same.

    :param engine: encodes the frames.
    :param cameras: their names, in the task's order.
    """

    def __init__(self, engine: Engine, cameras: Sequence[str]) -> None:
        self._engine, self._cameras = engine, tuple(cameras)
        self._last: dict[str, _Seen] = {}

    def tokens(self, observations: Sequence[Mapping[str, np.ndarray]]) -> list[list[Any]]:
        """Tokens of every camera, in the task's order, for each observation.

        :param observations: camera name to (H, W, 3) uint8 RGB, in the order of their time.
        """
        try:
            seen, new = self._compare(observations)
            self._encode(new)
        except BaseException:
            self._last.clear()  # some of these have no tokens, or those of another frame
            raise
        return [[each.tokens for each in row] for row in seen]

    def _compare(
        self, observations: Sequence[Mapping[str, np.ndarray]]
    ) -> tuple[list[list[_Seen]], list[tuple[int, _Seen]]]:
        """What each observation shows, and what of it is new, with its camera's place."""
        seen: list[list[_Seen]] = []
        new: list[tuple[int, _Seen]] = []
        for images in observations:
            row = []
            for place, name in enumerate(self._cameras):
                frame, last = images[name], self._last.get(name)
                if last is None or not _equal(frame, last.frame):
                    last = self._last[name] = self._copy(frame, last)
                    new.append((place, last))
                row.append(last)
            seen.append(row)
        return seen, new

    def clear(self) -> None:
        """Encode every camera's next frame."""
        self._last.clear()

    def _copy(self, frame: np.ndarray, last: _Seen | None) -> _Seen:
        # Its memory serves again, unless the frame in it still has to be encoded.
        if last is not None and last.tokens is not None:
            np.copyto(last.frame, frame)
            return _Seen(last.frame)
        return _Seen(np.array(frame, order='C'))

    def _encode(self, new: Sequence[tuple[int, _Seen]]) -> None:
        for i in range(0, len(new), self._engine.frames_at_once):
            part = new[i : i + self._engine.frames_at_once]
            tokens = self._engine.encode([s.frame for _, s in part], [place for place, _ in part])
            for (_, seen), each in zip(part, tokens, strict=True):
                seen.tokens = each


def _equal(frame: np.ndarray, last: np.ndarray) -> bool:
    # A new frame has noise everywhere: its middle row shows it, in a fiftieth of the time.
    middle = len(frame) // 2
    return np.array_equal(frame[middle], last[middle]) and np.array_equal(frame, last)
