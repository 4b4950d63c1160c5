"""Micro-expressions in tracked coefficients."""

import numpy as np
import pytest

from avatar.analysis.micro import Magnifier, MicroSpotter
from avatar.config import load
from avatar.core import facs
from avatar.core.types import MILLISECOND, SECOND, Ns
from avatar.errors import ConfigError
from avatar.models.inputs.micro import score

FPS = 30


def face(seconds: float = 4.0, noise: float = 0.004, seed: int = 1, fps: int = FPS, **pulses) -> np.ndarray:
    """(n, 52) with noise; ``name=(amplitude, at, width)`` adds a raised cosine of ``width`` seconds at half height."""
    n = round(seconds * fps)
    t = np.arange(n) / fps
    out = np.abs(np.random.default_rng(seed).normal(0, noise, (n, 52)))
    for name, (amplitude, at, width) in pulses.items():
        shape = amplitude * 0.5 * (1 + np.cos(2 * np.pi * np.clip((t - at) / (2 * width), -0.5, 0.5)))
        for key in (name,) if name in facs.INDEX else (name + "Left", name + "Right"):
            out[:, facs.INDEX[key]] += shape
    return out


def spot(shapes: np.ndarray, fps: int = FPS) -> list:
    spotter = MicroSpotter()
    return [m for i, row in enumerate(shapes) for m in spotter.step(Ns(i * SECOND // fps), row)]


@pytest.mark.parametrize("fps", [25, 30, 60])
@pytest.mark.parametrize("width", [0.08, 0.12, 0.18])
def test_a_short_weak_movement_is_found_once_with_its_unit_time_and_size(fps, width):
    (found,) = spot(face(fps=fps, mouthSmile=(0.1, 2.5, width)), fps)
    assert found.unit == 12
    assert found.pts / SECOND == pytest.approx(2.5, abs=0.05)
    assert found.amplitude == pytest.approx(0.1, abs=0.03)
    assert found.duration / SECOND == pytest.approx(width, abs=0.05)


@pytest.mark.parametrize(
    ("pulses", "why"),
    [
        ({"mouthSmile": (0.1, 2.5, 0.6)}, "too long"),
        ({"mouthSmile": (0.8, 2.5, 0.12)}, "everybody sees it"),
        ({"mouthSmile": (0.012, 2.5, 0.12)}, "the tracker's noise"),
        ({"browInnerUp": (0.1, 2.5, 0.12), "eyeBlink": (0.9, 2.5, 0.1)}, "goes with a blink"),
        ({"mouthSmile": (0.1, 2.5, 0.12), "jawOpen": (0.3, 2.5, 0.12)}, "the mouth speaks"),
        ({"eyeBlink": (0.2, 2.5, 0.1)}, "lids move by themselves"),
        ({n: (0.1, 2.5, 0.12) for n in ("browInnerUp", "browDown", "noseSneer", "eyeWide")}, "the whole face"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_movements_are_not(pulses, why):
    assert spot(face(**pulses)) == [], why


def test_a_step_is_no_pulse():
    shapes = face()
    shapes[60:, facs.INDEX["mouthSmileLeft"]] += 0.2
    shapes[60:, facs.INDEX["mouthSmileRight"]] += 0.2
    assert spot(shapes) == []


def test_nothing_is_found_in_noise_alone():
    assert sum(len(spot(face(20, seed=seed))) for seed in range(5)) == 0


def test_a_gap_begins_anew():
    spotter, shapes = MicroSpotter(), face()
    for i in range(60):
        spotter.step(Ns(i * SECOND // FPS), shapes[i])
    assert spotter.step(Ns(60 * SECOND), shapes[0]) == ()
    assert spotter.step(Ns(0), shapes[0]) == (), "time may begin anew as well"


def enlarged(gain: float, **pulses) -> tuple[np.ndarray, np.ndarray]:
    shapes, magnifier = face(noise=0.001, **pulses), Magnifier(gain)
    return shapes, np.array([magnifier.step(Ns(i * SECOND // FPS), row) for i, row in enumerate(shapes)])


def test_a_pulse_is_enlarged_at_once():
    shapes, out = enlarged(4.0, mouthSmile=(0.05, 2.5, 0.12))
    place = facs.INDEX["mouthSmileLeft"]
    assert 3.0 < out[:, place].max() / shapes[:, place].max() < 4.2
    assert out[:, place].argmax() == shapes[:, place].argmax()
    others = [i for i, name in enumerate(facs.ARKIT) if not name.startswith(("mouthSmile", "brow", "eyeWide"))]
    assert np.abs(out - shapes)[:, others].max() < 0.02


def test_what_is_large_or_lasts_ends_up_as_it_is():
    shapes, out = enlarged(4.0, mouthSmile=(0.9, 2.5, 1.0))
    place = facs.INDEX["mouthSmileLeft"]
    peak = int(shapes[:, place].argmax())
    assert np.abs(out - shapes)[peak - 8 : peak + 8, place].max() < 0.02
    assert np.abs(out - shapes).max() <= Magnifier.MOST + 1e-6
    assert 0 <= out.min() <= out.max() <= 1


def test_a_gain_of_one_changes_nothing():
    row = face()[0]
    assert Magnifier(1.0).step(Ns(0), row) is row


def test_the_gain_is_a_setting():
    assert load(None, ["face.micro_gain=4"]).config.face.micro_gain == 4
    with pytest.raises(ConfigError, match="micro_gain"):
        load(None, ["face.micro_gain=40"])


def test_the_score_counts_each_pulse_once():
    (found,) = spot(face(mouthSmile=(0.1, 2.5, 0.12)))
    true = (found.pts + 50 * MILLISECOND, 12)
    assert score([found, found], [true]) == (1, 0, 0)
    assert score([found], [(true[0], 15)]) == (0, 1, 1)
