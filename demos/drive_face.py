"""A program moves the face: start `avatar run --set input.program_port=8083`, then this."""

import math
import time

from avatar.client import FaceClient

with FaceClient(priority=60, hold=0.5) as face:
    face.gesture("brow_flash")
    for i in range(300):  # ten seconds at 30 a second: a slow look around with a smile
        t = i / 30
        face.set(au={12: 0.5 + 0.3 * math.sin(t), 6: 0.3}, head={"yaw": 8 * math.sin(0.8 * t), "roll": 3 * math.cos(t)})
        if i % 90 == 60:
            face.gesture("nod")
        time.sleep(1 / 30)
    face.release()
