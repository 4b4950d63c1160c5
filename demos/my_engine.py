"""An engine of your own, the smallest there is: a drawn face.

Put the class into a package of yours and name it in its pyproject.toml:

    [project.entry-points."avatar.engines"]
    drawn = "my_package.my_engine:DrawnEngine"

Then: avatar render --engine drawn --text "Hello." -o hello.mp4
"""

import cv2
import numpy as np

from avatar.core import facs
from avatar.core.types import U8, FaceState
from avatar.engines.base import Engine


class DrawnEngine(Engine):
    """Two eyes and a mouth."""

    name = "drawn"

    def render(self, state: FaceState) -> U8:
        size = self.size
        picture = np.full((size, size, 3), 250, np.uint8)
        jaw, blink = (float(state.arkit[facs.INDEX[n]]) for n in ("jawOpen", "eyeBlinkLeft"))
        yaw, pitch, roll = state.head.euler
        x, y = size / 2 + 4 * yaw, size / 2 - 4 * pitch
        for side in (-1, 1):
            eye = (round(x + side * size * 0.15), round(y - size * 0.12))
            cv2.ellipse(
                picture, eye, (size // 24, max(1, round(size / 14 * (1 - blink)))), -roll, 0, 360, (40, 40, 60), -1
            )
        mouth = (round(x), round(y + size * 0.2))
        cv2.ellipse(picture, mouth, (size // 8, max(2, round(size / 6 * jaw))), -roll, 0, 360, (150, 40, 60), -1)
        return picture
