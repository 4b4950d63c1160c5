"""The judge of steadiness: it finds a jump, and takes a cause for what it is."""

import numpy as np

from avatar.core.types import FaceState, Ns, Pose, freeze
from avatar.models.expression.steady import jitter, jumps, motion


def _states(n: int) -> list[FaceState]:
    turn = np.sin(np.arange(n) / 9) * 5
    return [FaceState(Ns(i), freeze(np.zeros(52, np.float32)), Pose.degrees(float(turn[i]), 0, 0)) for i in range(n)]


def _draw(state: FaceState) -> np.ndarray:
    ramp = np.clip((np.arange(64) - 32 - 2 * state.head.euler[0]) * 4, -60, 60) + 120
    return np.broadcast_to(ramp[None, :, None], (64, 64, 3)).astype(np.uint8)


def test_a_turning_head_is_no_jump_but_a_picture_that_blinks_once_is():
    states = _states(120)
    assert len(jumps(*motion(_draw, states))) == 0

    def once(state: FaceState) -> np.ndarray:
        return np.minimum(255, _draw(state) + (np.uint8(40) if state.pts == 60 else np.uint8(0))).astype(np.uint8)

    assert set(jumps(*motion(once, states))) == {59, 60}


def test_jitter_is_what_goes_beyond_the_heads_own_motion():
    random = np.random.default_rng(0)
    face = random.uniform(100, 400, (478, 3)).astype(np.float32)
    moving = [face + np.float32(0.5 * t) for t in range(40)]
    assert jitter(moving) < 0.01
    shaking = [m + random.normal(0, 0.4, m.shape).astype(np.float32) for m in moving]
    assert 0.3 < jitter(shaking) < 0.7
