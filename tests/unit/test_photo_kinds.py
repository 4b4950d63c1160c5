"""Every kind of bad photo, made up from the shipped portraits: handled well, or refused with the reason."""

import io

import cv2
import numpy as np
import pytest
from drawn_face import WEIGHTS, drawn_face
from PIL import Image

from avatar.core.facs import arkit_vector
from avatar.core.types import FaceState, Ns
from avatar.engines.head import HeadEngine
from avatar.models import registry
from avatar.portrait import bundle, checks
from avatar.portrait.bundle import AvatarBundle, Finding
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.landmarks import LandmarkDetector
from avatar.portrait.onboard import onboard, read_photo
from avatar.portrait.report import NAMES, lines, side_light, warnings_of


def finding(made: AvatarBundle, name: str) -> Finding:
    (found,) = (f for f in made.report if f.name == name)
    return found


def told(rgb: np.ndarray, detector: LandmarkDetector) -> AvatarBundle:
    made = onboard(rgb, "x", "", "self", detector, glasses=GlassesFinder(WEIGHTS))
    assert tuple(f.name for f in made.report) == NAMES
    assert all(f.text and "\n" not in f.text for f in made.report)
    return made


def test_a_good_photo_is_good_throughout(detector, sam):
    made = told(sam.portrait, detector)
    assert {f.grade for f in made.report} <= {"good", "fair"}
    assert made.warnings == ()
    assert finding(made, "pose").grade == finding(made, "expression").grade == finding(made, "light").grade == "good"
    assert len(list(lines(made.report))) == len(NAMES)


def test_twelve_megapixels_of_a_phone(detector, sam):
    photo = np.full((4000, 3000, 3), 150, np.uint8)
    photo[600:3400, 100:2900] = cv2.resize(sam.portrait, (2800, 2800), interpolation=cv2.INTER_CUBIC)
    out = io.BytesIO()
    Image.fromarray(photo).save(out, "JPEG", quality=90)
    made = told(read_photo(out.getvalue()), detector)
    assert made.portrait.shape == (1024, 1024, 3)
    assert finding(made, "size").grade == "good"


def test_print_colours_and_sixteen_bits_give_the_same_face(detector, sam):
    out = io.BytesIO()
    Image.fromarray(sam.portrait).convert("CMYK").save(out, "TIFF")
    printed = told(read_photo(out.getvalue()), detector)
    deep = cv2.imencode(".png", sam.portrait[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    scanned = told(read_photo(deep), detector)
    for made in (printed, scanned):
        assert np.abs(made.landmarks[:, :2] - told(sam.portrait, detector).landmarks[:, :2]).max() < 4


@pytest.mark.parametrize("name", ["sam", "iris", "ruth"])
def test_a_hand_over_the_mouth_is_noticed(detector, name):
    avatar = bundle.load(registry.avatars_dir() / name)
    points, covered = avatar.landmarks[:, :2], avatar.portrait.copy()
    unit = float(np.hypot(*(points[33] - points[263])))
    x, y = points[9]
    skin = np.median(covered[int(y) - 12 : int(y) + 12, int(x) - 12 : int(x) + 12].reshape(-1, 3), axis=0)
    for k in range(4):  # four fingers, one above the other
        at = points[2] + np.array((0, (0.16 + 0.17 * k) * unit))
        shade = tuple(float(v) for v in skin * (0.97 - 0.02 * k))
        ends = [(int(at[0] + side * 0.42 * unit), int(at[1])) for side in (-1, 1)]
        cv2.line(covered, *ends, shade, int(0.19 * unit), cv2.LINE_AA)
    made = told(covered, detector)
    assert finding(made, "occlusion").grade == "poor"
    assert "mouth seems to be covered" in "\n".join(made.warnings)


def test_light_from_one_side_and_burnt_out_skin_are_said(detector, sam):
    ramp = np.linspace(0.25, 1.25, sam.portrait.shape[1], dtype=np.float32)[None, :, None]
    lit = np.clip(sam.portrait * ramp, 0, 255).astype(np.uint8)
    made = told(lit, detector)
    assert "from the picture's right" in finding(made, "light").text
    face = detector.detect(lit)[0]
    lab = cv2.cvtColor(lit.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    assert side_light(lab, face) > 14
    assert side_light(lab[:, ::-1].copy(), detector.detect(lit[:, ::-1].copy())[0]) < -14
    burnt = np.clip(sam.portrait.astype(np.float32) * 2.6, 0, 255).astype(np.uint8)
    assert "burnt out" in finding(told(burnt, detector), "light").text


def test_a_grey_sculpture_gets_a_grey_mouth(detector, sam):
    stone = cv2.cvtColor(cv2.cvtColor(sam.portrait, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    made = told(stone, detector)
    open_ = FaceState(Ns(0), arkit_vector({"jawOpen": 0.8, "mouthUpperUp": 0.5}))
    drawn = HeadEngine(made, 256, WEIGHTS).render(open_).astype(int)
    assert np.ptp(drawn, axis=2).max() <= 6
    coloured = HeadEngine(sam, 256, WEIGHTS).render(open_).astype(int)
    assert np.ptp(coloured, axis=2).max() > 30


def test_a_cartoon_is_an_avatar(detector, sam):
    flat = cv2.bilateralFilter(sam.portrait, 9, 60, 9) // 48 * 48 + 24
    assert told(flat.astype(np.uint8), detector).portrait.shape[0] >= 512
    drawn = told(drawn_face(512).portrait, detector)
    assert np.abs(drawn.landmarks[1, :2] / len(drawn.portrait) - 0.5).max() < 0.1


def test_a_dark_beard_is_noticed_and_bare_chins_are_none(detector):
    names = [p.name for p in registry.avatars_dir().iterdir() if p.is_dir()]
    avatar = bundle.load(registry.avatars_dir() / "iris")
    bearded = avatar.portrait.copy()
    chin = np.zeros(bearded.shape[:2], np.uint8)
    cv2.fillPoly(chin, [np.round(avatar.landmarks[list(checks.CHIN), :2]).astype(np.int32)], 1)
    rng = np.random.default_rng(0)
    hair = (40 + 30 * rng.random((*chin.shape, 1))).astype(np.uint8).repeat(3, 2)
    bearded[chin > 0] = hair[chin > 0]
    assert "a beard" in finding(told(bearded, detector), "occlusion").text
    for name in {"iris", "ada", "ruth", "lin"} & set(names):
        made = told(bundle.load(registry.avatars_dir() / name).portrait, detector)
        assert "beard" not in finding(made, "occlusion").text


def test_the_most_important_warning_comes_first():
    poor = [Finding("framing", "poor", "a"), Finding("light", "poor", "b"), Finding("occlusion", "poor", "c"),
            Finding("pose", "fair", "d")]  # fmt: skip
    assert warnings_of(poor) == ("c", "b", "a")
