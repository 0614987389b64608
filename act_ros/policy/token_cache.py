"""The tokens of the cameras' last frames: one that has not changed is not encoded again."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from act_ros.policy.engine import Engine

# Whose last frames are kept, at most. Those of three cameras of 480x640 take 2.8 MB and their
# tokens 1.8 MB.
MOST_SOURCES = 64


@dataclass
class _Seen:
    """A frame, in a copy that nobody else writes to, and its tokens once they are there."""

    frame: np.ndarray
    tokens: Any = None


class TokenCache:
    """Turns frames into tokens, each frame of a camera once.

    Frames are compared byte by byte with the camera's last, never by their stamps: at 30
    frames and 50 ticks a second two of five are the same. Several robots that take turns each
    have their own cameras: their frames are kept by source, those of the latest sources.

    :param engine: encodes the frames.
    :param cameras: their names, in the task's order.
    """

    def __init__(self, engine: Engine, cameras: Sequence[str]) -> None:
        self._engine, self._cameras = engine, tuple(cameras)
        # By source, the latest at the end, and by camera.
        self._last: OrderedDict[Hashable, dict[str, _Seen]] = OrderedDict()

    def tokens(
        self,
        observations: Sequence[Mapping[str, np.ndarray]],
        sources: Sequence[Hashable] | None = None,
    ) -> list[list[Any]]:
        """Tokens of every camera, in the task's order, for each observation.

        :param observations: camera name to (H, W, 3) uint8 RGB, in the order of their time.
        :param sources: whose cameras each is of; by default all are of the same.
        """
        try:
            seen, new = self._compare(observations, sources or [None] * len(observations))
            self._encode(new)
        except BaseException:
            self._last.clear()  # some of these have no tokens, or those of another frame
            raise
        return [[each.tokens for each in row] for row in seen]

    def _compare(
        self, observations: Sequence[Mapping[str, np.ndarray]], sources: Sequence[Hashable]
    ) -> tuple[list[list[_Seen]], list[tuple[int, _Seen]]]:
        """What each observation shows, and what of it is new, with its camera's place."""
        seen: list[list[_Seen]] = []
        new: list[tuple[int, _Seen]] = []
        for images, source in zip(observations, sources, strict=True):
            frames = self._frames_of(source)
            row = []
            for place, name in enumerate(self._cameras):
                frame, last = images[name], frames.get(name)
                if last is None or not _equal(frame, last.frame):
                    last = frames[name] = self._copy(frame, last)
                    new.append((place, last))
                row.append(last)
            seen.append(row)
        return seen, new

    def clear(self) -> None:
        """Encode every camera's next frame."""
        self._last.clear()

    def _frames_of(self, source: Hashable) -> dict[str, _Seen]:
        """The last frames of a source; the one that was not here for longest makes room."""
        frames = self._last.pop(source, {})
        if len(self._last) >= MOST_SOURCES:
            self._last.popitem(last=False)
        self._last[source] = frames
        return frames

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
