"""Faces come to lie eyes on eyes, and are measured there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_face import basis, drawn_face

from avatar.core.facs import arkit_vector
from avatar.errors import StorageError
from avatar.models.expression import align, sheet
from avatar.models.expression.signals import KIN, SIGNALS, Seen, lid_openings
from avatar.portrait.landmarks import DetectedFace
from avatar.trust import metadata


def face_of(landmarks) -> DetectedFace:
    return DetectedFace(landmarks, np.zeros(52, np.float32), 0, 0, 0, (0, 0, 0))


def moved(**shapes: float) -> Seen:
    vertices = basis().shape(arkit_vector(shapes))
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:468] = basis().landmarks(vertices) * (12, -12, -12) + (200, 150, 0)
    return Seen.of(face_of(landmarks))


def turned(landmarks, degrees: float, scale: float):
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    out = landmarks.copy()
    out[:, :2] = landmarks[:, :2] @ turn.T + (40, -25)
    return out


def test_eyes_are_level_and_80_pixels_apart_wherever_they_were():
    bundle = drawn_face()
    for degrees, scale in ((0, 1), (20, 0.7), (-35, 1.6)):
        _, points = align.align(bundle.portrait, turned(bundle.landmarks, degrees, scale))
        right, left = points[[33, 133]].mean(0), points[[362, 263]].mean(0)
        np.testing.assert_allclose(left - right, (80, 0), atol=1e-3)
        np.testing.assert_allclose((left + right) / 2, align.MIDDLE, atol=1e-3)


@pytest.mark.parametrize("size", [300, 1500])
def test_the_picture_follows_its_landmarks_at_any_size(size):
    """Large pictures are averaged down first; a dot must still come to lie where its landmark does."""
    bundle = drawn_face(512)
    scale = size / 512
    landmarks = bundle.landmarks * np.float32(scale)
    picture = np.zeros((size, size, 3), np.uint8)
    tip = landmarks[1, :2]
    cv2.circle(picture, tuple(round(float(v)) for v in tip), round(6 * scale), (255, 255, 255), -1, cv2.LINE_AA)
    aligned, points = align.align(picture, landmarks)
    at = np.argwhere(aligned[..., 0] > 128)[:, ::-1].mean(0)
    np.testing.assert_allclose(at, points[1], atol=0.8)


def test_masks():
    _, points = align.align(drawn_face().portrait, drawn_face().landmarks)
    face, mouth = align.face_mask(points), align.mouth_mask(points)
    assert mouth.sum() < 0.2 * face.sum()
    assert face[mouth].all()
    assert face[100, 128]
    assert not face[4, 4]


@pytest.mark.parametrize(
    ("unit", "shapes"),
    [
        (1, {"browInnerUp": 1}),
        (2, {"browOuterUp": 1}),
        (4, {"browDown": 1}),
        (5, {"eyeWide": 1}),
        (10, {"mouthUpperUp": 1}),
        (15, {"mouthFrown": 1}),
        (17, {"mouthShrugLower": 1}),
        (18, {"mouthPucker": 1}),
        (20, {"mouthStretch": 1}),
        (22, {"mouthFunnel": 1}),
        (25, {"mouthLowerDown": 0.5}),
        (26, {"jawOpen": 0.6}),
        (27, {"jawOpen": 1}),
    ],
)
def test_signals_from_landmarks_rise_with_their_unit(unit, shapes):
    signal = SIGNALS[unit][0]
    rest, half, full = (signal(moved(**{k: v * share for k, v in shapes.items()})) for share in (0, 0.5, 1))
    assert rest < half < full


def test_a_dropping_jaw_is_no_frown():
    frown = SIGNALS[15][0]
    rest = frown(moved())
    assert abs(frown(moved(jawOpen=1)) - rest) < 0.5 * (frown(moved(mouthFrown=1)) - rest)


def test_a_smile_is_hardly_a_stretch():
    stretch = SIGNALS[20][0]
    rest = stretch(moved())
    assert abs(stretch(moved(mouthSmile=1)) - rest) < 0.5 * (stretch(moved(mouthStretch=1)) - rest)


def test_kinship_is_of_units_that_are_measured():
    assert all(a in SIGNALS and b in SIGNALS and a != b for a in KIN for b in KIN[a])


def test_lids():
    open_, shut = lid_openings(moved()), lid_openings(moved(eyeBlinkLeft=1))
    assert min(open_) > 0.2
    assert shut[0] == pytest.approx(open_[0], abs=0.01)
    assert shut[1] < 0.5 * open_[1], "the subject's left eye comes second"


def test_sheets_are_written_six_lines_at_a_time(tmp_path):
    tile = np.full((256, 256, 3), 90, np.uint8)
    names = [f"p{i}" for i in range(7)]
    made = sheet.contact_sheets("smile", ["", "real"], names, [[tile, tile]] * 7, tmp_path / "new")
    assert [path.name for path in made] == ["smile_01.png", "smile_02.png"]
    assert cv2.imread(str(made[0])).shape == (6 * 256 + 20, 512, 3)
    assert cv2.imread(str(made[1])).shape == (256 + 20, 512, 3)
    assert cv2.imread(str(made[1]))[256:].max() > 200, "the strip says what it is"
    assert all(metadata.find(path)["Label"] == "1" for path in made)
    assert (tile == 90).all(), "labels are drawn on copies"


def test_pictures_to_be_judged_show_no_mark_and_say_in_their_metadata_what_is_generated(tmp_path):
    tile = np.full((64, 64, 3), 90, np.uint8)
    for name in ("real", "drawn"):
        sheet.write_picture(tmp_path / name / "a.png", tile, generated=name == "drawn")
        assert (cv2.imread(str(tmp_path / name / "a.png")) == 90).all()
    assert metadata.find(tmp_path / "real" / "a.png") is None
    assert metadata.find(tmp_path / "drawn" / "a.png")["Label"] == "1"


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"--keep .*file.new: cannot be made"):
        sheet.make_folder(tmp_path / "file" / "new")
