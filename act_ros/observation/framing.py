"""From what a camera sends to what the policy was trained on: turned, cut out, resized."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from act_ros.errors import ObservationError, ParameterError, shorten
from act_ros.interfaces import one_each
from act_ros.parameters import Settings
from act_ros.task import Task

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True)
class Framing:
    """What becomes of a camera's frames, in this order; by default nothing.

    :ivar size: height and width that the policy needs [px].
    :ivar rotation: clockwise [degrees].
    :ivar crop: top, left, height and width of what is kept of the turned frame [px].
    :ivar resize: 'off'; 'stretch' to the size; 'fit' into it, with black on both sides.
    """

    size: tuple[int, int]
    rotation: Literal[0, 90, 180, 270] = 0
    crop: tuple[int, int, int, int] | None = None
    resize: str = 'off'

    def check(self, found: tuple[int, int]) -> None:
        """Refuse frames of which the policy's size cannot be made.

        :param found: their height and width [px].
        :raises ObservationError: naming both, and what to do.
        """
        height, width = found if self.rotation in (0, 180) else found[::-1]
        if self.crop is not None:
            top, left, *kept = self.crop
            if top + kept[0] > height or left + kept[1] > width:
                raise ObservationError(
                    f'{height}x{width} pixels, of which camera_crops wants {kept[0]}x{kept[1]} '
                    f'from {top}, {left} on: that is not in it'
                )
            height, width = kept
        if self.resize == 'off' and (height, width) != tuple(self.size):
            raise ObservationError(
                f'{height}x{width} pixels, expected {self.size[0]}x{self.size[1]} '
                f'(let the camera send that; image_resize and camera_crops change frames here)'
            )

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The policy's image of a frame that was checked.

        :param pixels: (H, W, 3) uint8.
        :returns: (size, 3) uint8; the frame itself, or a part of it, where no pixel changes.
        """
        if self.rotation:
            pixels = cv2.rotate(pixels, _TURNS[self.rotation])
        if self.crop is not None:
            top, left, height, width = self.crop
            pixels = pixels[top : top + height, left : left + width]
        if pixels.shape[:2] == tuple(self.size) or self.resize == 'off':
            return pixels
        height, width = self.size
        if self.resize == 'stretch':
            return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return self._fit(pixels)

    def _fit(self, pixels: np.ndarray) -> np.ndarray:
        height, width = self.size
        ratio = min(height / pixels.shape[0], width / pixels.shape[1])
        inner = [max(1, round(side * ratio)) for side in pixels.shape[:2]]
        fitted = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        fitted[top : top + inner[0], left : left + inner[1]] = cv2.resize(
            pixels, (inner[1], inner[0]), interpolation=cv2.INTER_LINEAR
        )
        return fitted


def framings(settings: Settings, task: Task) -> dict[str, Framing]:
    """What becomes of each camera's frames, as the parameters say.

    :raises ParameterError: a list has another length than there are cameras, or a wrong entry.
    """
    crops = one_each('camera_crops', settings.camera_crops, task.cameras, '')
    turns = one_each('camera_rotations', settings.camera_rotations, task.cameras, 0)
    return {
        name: Framing(
            size, _turn(name, turns[name]), _crop(name, crops[name]), settings.image_resize
        )
        for name, size in task.image_sizes.items()
    }


def _turn(camera: str, degrees: int) -> Literal[0, 90, 180, 270]:
    for known in (0, 90, 180, 270):
        if degrees == known:
            return known
    raise ParameterError(
        f"parameter 'camera_rotations' has {degrees} for {camera}; expected 0, 90, 180 or 270"
    )


def _crop(camera: str, text: str) -> tuple[int, int, int, int] | None:
    if not text.strip():
        return None
    words = text.split()
    if len(words) == 4 and all(word.isdecimal() and len(word) < 6 for word in words):
        top, left, height, width = map(int, words)
        if height and width:
            return top, left, height, width
    raise ParameterError(
        f"parameter 'camera_crops' has {shorten(text)} for {camera}; expected "
        f"'TOP LEFT HEIGHT WIDTH' in pixels, or '' for all of it"
    )
