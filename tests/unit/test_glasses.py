"""Glasses: seen in a portrait, kept in the bundle, drawn rigid."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_face import WEIGHTS, drawn_face

from avatar.core.facs import arkit_vector
from avatar.core.types import FaceState, Ns, Pose, freeze
from avatar.engines.head import HeadEngine
from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.glasses.synthesis import draw_frame, wear
from avatar.portrait import bundle
from avatar.portrait.fit import eye_distance
from avatar.portrait.glasses import CROP, EYES, MIDDLE, GlassesFinder, crop, crop_matrix, frame_of

SIZE = 256


@pytest.fixture(scope="module")
def finder() -> GlassesFinder:
    return GlassesFinder(WEIGHTS)


def test_the_crop_is_level_and_in_its_place():
    points = drawn_face(512).landmarks
    turn = cv2.getRotationMatrix2D((256, 256), 20, 1.3)
    turned = points.copy()
    turned[:, :2] = points[:, :2] @ turn[:, :2].T + turn[:, 2]
    matrix = crop_matrix(turned)
    eyes = np.stack([turned[list(pair), :2].mean(0) for pair in ((33, 133), (362, 263))])
    at = eyes @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(at.mean(0), MIDDLE, atol=1e-3)
    np.testing.assert_allclose(at[1] - at[0], (EYES, 0), atol=1e-3)
    assert crop(drawn_face(512).portrait, points).shape == (*CROP, 3)


def test_only_noah_of_the_shipped_faces_wears_glasses(finder):
    for folder in registry.avatars_dir().iterdir():
        if folder.is_dir():
            avatar = bundle.load(folder)
            found = finder.mask(avatar.portrait, avatar.landmarks)
            assert (found is not None) == (folder.name == "noah")
            assert (avatar.glasses is not None) == (folder.name == "noah")


def test_drawn_glasses_are_found_where_they_are(finder):
    avatar = bundle.load(registry.avatars_dir() / "sam")
    eyes = np.stack([avatar.landmarks[list(pair), :2].mean(0) for pair in ((33, 133), (362, 263))])
    found, overlaps = 0, []
    for seed in range(8):
        worn, frame = wear(
            np.random.default_rng(seed), avatar.portrait, tuple(eyes.mean(0)), float(eyes[1, 0] - eyes[0, 0])
        )
        mask = finder.mask(worn, avatar.landmarks)
        if mask is not None:
            found += 1
            near = cv2.dilate((frame > 0.5).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
            overlaps.append((mask[near] > 0).sum() / max(1, (mask > 0).sum()))
    assert found >= 6
    assert np.median(overlaps) > 0.85


def test_a_brow_alone_is_no_frame():
    heavy = np.zeros(CROP, np.float32)
    heavy[15:22, 20:75] = heavy[15:22, 95:150] = 0.9  # two bars without a bridge
    assert frame_of(heavy) is None
    heavy[17:20, 75:95] = 0.9
    assert frame_of(heavy) is not None
    assert frame_of(np.zeros(CROP, np.float32)) is None
    heavy[80:86, 0:10] = 0.9
    assert frame_of(heavy)[82, 5] > 0  # a part that is large enough goes with it
    heavy[60, 60] = 0.9
    assert frame_of(heavy)[60, 60] == 0


def test_drawn_frames_reach_over_both_eyes():
    for seed in range(12):
        made = draw_frame(np.random.default_rng(seed), (180, 340), (170, 80), 128)
        assert made.frame.max() <= 1
        assert made.frame[:, :150].any()
        assert made.frame[:, 190:].any()
        assert not (made.lens * (made.frame > 0)).any()


@pytest.fixture(scope="module")
def wearer() -> bundle.AvatarBundle:
    """The drawn face with bright green frames."""
    made = drawn_face(SIZE)
    portrait, mask = made.portrait.copy(), np.zeros((SIZE, SIZE), np.uint8)
    for contour in ((33, 133), (362, 263)):
        centre = made.landmarks[list(contour), :2].mean(0)
        radius = 0.24 * eye_distance(made.landmarks)
        cv2.circle(mask, tuple(int(v) for v in centre), int(radius), 255, 3)
    middle = np.round(made.landmarks[168, :2]).astype(int)
    cv2.line(mask, (middle[0] - 8, middle[1]), (middle[0] + 8, middle[1]), 255, 3)
    portrait[mask > 0] = (0, 220, 0)
    return replace(made, portrait=freeze(portrait), glasses=freeze(mask))


def green(picture: np.ndarray) -> np.ndarray:
    value = picture.astype(int)
    return value[..., 1] > value[..., [0, 2]].max(2) + 60


def test_at_rest_the_picture_is_the_photo(wearer):
    rest = HeadEngine(wearer, SIZE, WEIGHTS).render(FaceState(Ns(0))).astype(float)
    error = ((rest - wearer.portrait) ** 2).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 40


@pytest.mark.parametrize("shapes", [{"browInnerUp": 1, "browOuterUp": 1}, {"browDown": 1}, {"eyeBlink": 1},
                                    {"cheekSquint": 1, "mouthSmile": 1}])  # fmt: skip
def test_frames_stay_while_the_face_moves(wearer, shapes):
    state = FaceState(Ns(0), arkit_vector(shapes))
    before = green(wearer.portrait)
    stiff = green(HeadEngine(wearer, SIZE, WEIGHTS).render(state))
    soft = green(HeadEngine(replace(wearer, glasses=None), SIZE, WEIGHTS).render(state))
    assert (stiff & before).sum() > 0.97 * before.sum()
    assert (stiff & ~before).sum() < 0.03 * before.sum()
    assert (stiff ^ before).sum() < (soft ^ before).sum()


def test_frames_turn_with_the_head(wearer):
    turned = green(HeadEngine(wearer, SIZE, WEIGHTS).render(FaceState(Ns(0), head=Pose.degrees(0, 0, 10))))
    y, x = np.nonzero(turned)
    slope = np.linalg.svd(np.c_[x - x.mean(), y - y.mean()], full_matrices=False)[2][0]
    assert abs(np.degrees(np.arctan2(slope[1], slope[0]))) % 180 == pytest.approx(170, abs=2.5) or abs(
        np.degrees(np.arctan2(slope[1], slope[0]))
    ) % 180 == pytest.approx(10, abs=2.5)
    assert turned.sum() == pytest.approx(green(wearer.portrait).sum(), rel=0.1)


def test_bundles_of_both_formats_load(tmp_path, wearer):
    smile = bundle.Smile(wearer.portrait, wearer.landmarks, wearer.coefficients)
    said = (bundle.Finding("light", "good", "bright"),)
    bundle.save(replace(wearer, smile=smile, report=said), tmp_path / "drawn")
    read = bundle.load(tmp_path / "drawn")
    assert np.array_equal(read.glasses, wearer.glasses)
    assert np.array_equal(read.smile.portrait, wearer.portrait)
    assert read.report == said
    assert read.glasses_at(SIZE // 2).shape == (SIZE // 2, SIZE // 2)
    for name in ("glasses.png", "smile.png", "smile_landmarks.npy", "smile_coefficients.npy"):
        (tmp_path / "drawn" / name).unlink()
    meta = json.loads((tmp_path / "drawn" / "avatar.json").read_text())
    del meta["format"], meta["report"]
    (tmp_path / "drawn" / "avatar.json").write_text(json.dumps(meta))
    old = bundle.load(tmp_path / "drawn")
    assert (old.glasses, old.smile, old.report) == (None, None, ())
    assert old.glasses_at(64) is None
    (tmp_path / "drawn" / "avatar.json").write_text(json.dumps(meta | {"format": 99}))
    with pytest.raises(UsageError, match="newer version"):
        bundle.load(tmp_path / "drawn")


@pytest.mark.parametrize("damage", ["glasses.png", "smile_landmarks.npy"])
def test_damaged_additions_are_one_line(tmp_path, wearer, damage):
    smile = bundle.Smile(wearer.portrait, wearer.landmarks, wearer.coefficients)
    bundle.save(replace(wearer, smile=smile), tmp_path / "drawn")
    (tmp_path / "drawn" / damage).write_bytes(b"no")
    with pytest.raises(UsageError, match="create it again") as caught:
        bundle.load(tmp_path / "drawn")
    assert "\n" not in str(caught.value)
