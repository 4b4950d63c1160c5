"""The second photo, and a first one that is not at rest; made up from what the engine draws of the shipped faces."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_face import WEIGHTS

from avatar.core.facs import INDEX, arkit_vector
from avatar.core.types import FaceState, Ns, freeze
from avatar.engines import neutral
from avatar.engines.head import HeadEngine
from avatar.engines.head_own import mixer, understand
from avatar.engines.head_teeth import OwnTeeth, hangs, rows_of
from avatar.errors import PhotoError
from avatar.models import registry
from avatar.models.glasses.synthesis import wear
from avatar.portrait import bundle
from avatar.portrait.basis import HeadBasis
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.checks import mouth_gap
from avatar.portrait.fit import fit_head
from avatar.portrait.glasses import GlassesFinder
from avatar.portrait.onboard import onboard
from avatar.portrait.smile import likeness, smile_of, with_smile

SMILE = {"mouthSmile": 0.9, "cheekSquint": 0.5, "mouthUpperUp": 0.5, "jawOpen": 0.08, "mouthLowerDown": 0.3}
SIZE = 384


@pytest.fixture(scope="module")
def smiling(sam) -> np.ndarray:
    """A photo of sam who smiles, with a mark of his own on the cheek that only the smile has."""
    picture = HeadEngine(sam, 640, WEIGHTS).render(FaceState(Ns(0), arkit_vector(SMILE)))
    return picture


@pytest.fixture(scope="module")
def with_both(sam, smiling, detector) -> AvatarBundle:
    return with_smile(sam, smiling, detector, GlassesFinder(WEIGHTS))


def test_a_smile_is_taken_and_leaves_the_rest_as_it_is(sam, with_both):
    assert with_both.smile is not None
    assert smile_of(with_both.smile.coefficients) > smile_of(sam.coefficients) + 0.2
    assert replace(with_both, smile=None, warnings=()) == replace(sam, warnings=())


def test_what_is_no_smile_of_this_person_is_refused(sam, smiling, detector):
    def refused(rgb: np.ndarray) -> PhotoError:
        with pytest.raises(PhotoError) as caught:
            with_smile(sam, rgb, detector, GlassesFinder(WEIGHTS))
        assert "\n" not in str(caught.value)
        assert "the smile photo" in str(caught.value)
        return caught.value

    assert refused(sam.portrait).code == "no_smile"
    assert refused(np.full((300, 300, 3), 90, np.uint8)).code == "no_face"
    assert refused(np.hstack([smiling, smiling])).code == "faces"
    other = bundle.load(registry.avatars_dir() / "lin")
    grin = HeadEngine(other, 640, WEIGHTS).render(FaceState(Ns(0), arkit_vector(SMILE)))
    assert refused(grin).code == "other_person"
    found = detector.detect(smiling)[0].landmarks
    eyes = np.stack([found[list(pair), :2].mean(0) for pair in ((33, 133), (362, 263))])
    worn, _ = wear(np.random.default_rng(1), smiling, tuple(eyes.mean(0)), float(np.hypot(*(eyes[1] - eyes[0]))))
    assert refused(worn).code in ("glasses", "other_person")


def test_likeness_is_highest_with_oneself(sam):
    own = likeness(sam.portrait, sam.landmarks, sam.portrait, sam.landmarks)
    assert own == pytest.approx(1, abs=0.02)
    for name in ("ruth", "lin", "ada", "max"):
        other = bundle.load(registry.avatars_dir() / name)
        assert likeness(sam.portrait, sam.landmarks, other.portrait, other.landmarks) < own - 0.15


def test_the_second_photo_is_understood(sam, with_both):
    basis = HeadBasis.load(WEIGHTS / "head_basis.npz")
    fitted = fit_head(basis, sam.landmarks, sam.coefficients)
    own = understand(basis, fitted, sam.landmarks, sam.coefficients, with_both.smile)
    assert own.weights[[INDEX["mouthSmileLeft"], INDEX["mouthSmileRight"]]].min() > 0.5
    rows = mixer(own)
    np.testing.assert_allclose((rows @ own.weights)[:2], 1, atol=1e-4)
    assert (rows @ arkit_vector({"browInnerUp": 1, "jawOpen": 1, "mouthPucker": 1}) == 0).all()


def test_own_folds_come_with_the_smile_alone(sam, with_both):
    """A dark line that only the smiling photo has."""
    marked = with_both.smile.portrait.copy()
    points = with_both.smile.landmarks
    line = np.round(points[[205, 207, 212], :2]).astype(np.int32)
    cv2.polylines(marked, [line], False, (30, 18, 12), 6, cv2.LINE_AA)
    changed = replace(with_both, smile=replace(with_both.smile, portrait=freeze(cv2.GaussianBlur(marked, (0, 0), 1.5))))
    before, after = HeadEngine(with_both, SIZE, WEIGHTS), HeadEngine(changed, SIZE, WEIGHTS)
    for shapes, differs in (({}, False), ({"browInnerUp": 1, "eyeBlink": 1}, False), (SMILE, True)):
        state = FaceState(Ns(0), arkit_vector(shapes))
        most = np.abs(before.render(state).astype(int) - after.render(state)).max()
        assert (most > 8) == differs, shapes
        assert differs or most == 0
    half = FaceState(Ns(0), arkit_vector({k: v / 2 for k, v in SMILE.items()}))
    full = FaceState(Ns(0), arkit_vector(SMILE))
    some = np.abs(before.render(half).astype(int) - after.render(half)).max()
    assert 3 < some < np.abs(before.render(full).astype(int) - after.render(full)).max()


def test_own_teeth_are_those_of_the_photo(sam, with_both):
    """Teeth dyed blue in the second photo are blue in the avatar's smile, a little also with the jaw open, and nowhere
    else."""
    plain = HeadEngine(with_both, SIZE, WEIGHTS)
    assert plain._teeth is not None
    smile = with_both.smile
    row = np.zeros(smile.portrait.shape[:2], np.uint8)
    low = plain._teeth._low
    small = cv2.resize(plain._teeth._row.astype(np.uint8), None, fx=len(row) / SIZE, fy=len(row) / SIZE)
    y, x = (np.array(low[::-1]) * len(row) / SIZE).astype(int)
    row[y : y + small.shape[0], x : x + small.shape[1]] = small
    blue = smile.portrait.copy()
    blue[row > 0] = np.clip(blue[row > 0] * (0.9, 0.95, 1.0) + (0, 0, 25), 0, 255)
    dyed = HeadEngine(replace(with_both, smile=replace(smile, portrait=freeze(blue))), SIZE, WEIGHTS)
    assert dyed._teeth is not None
    for more, least in (({}, 12), ({"jawOpen": 0.5}, 3)):
        state = FaceState(Ns(0), arkit_vector(SMILE | more))
        difference = dyed.render(state).astype(int) - plain.render(state)
        bluer = difference[..., 2] - difference[..., 0]
        assert (bluer > least).sum() > 60
        rows = np.flatnonzero((bluer > least).any(1))
        assert rows.max() < np.round(sam.landmarks[152, 1] * SIZE / 640)
    rest = FaceState(Ns(0))
    assert np.array_equal(dyed.render(rest), plain.render(rest))


def test_rows_of_teeth_are_told_apart():
    opening = np.full((20, 30), 255, np.uint8)
    upper, lower, both = np.zeros((3, 20, 30), bool)
    upper[2:9, 4:26], lower[12:18, 4:26] = True, True
    both[2:6], both[12:18] = True, True
    assert hangs(upper, opening) < 0.2 < 0.5 < hangs(lower, opening)
    assert (rows_of(upper), rows_of(both)) == (0.0, 1.0)
    assert hangs(np.zeros((20, 30), bool), opening) == 1.0


def test_a_closed_smile_gives_no_teeth(sam):
    mild = HeadEngine(sam, 640, WEIGHTS)
    picture = mild.render(FaceState(Ns(0), arkit_vector({"mouthSmile": 0.8})))
    basis = HeadBasis.load(WEIGHTS / "head_basis.npz")
    fitted = fit_head(basis, sam.landmarks, sam.coefficients)
    shown = bundle.Smile(freeze(picture), sam.landmarks, arkit_vector({"mouthSmile": 0.8}))
    own = understand(basis, fitted, sam.landmarks, sam.coefficients, shown)
    assert not OwnTeeth(own, sam.portrait, sam.landmarks).found


# --- a first photo that is not at rest -------------------------------------------------------------------------------


def test_an_open_smile_is_brought_to_rest_and_comes_back_as_the_smile(smiling, detector):
    photo = onboard(smiling, "sam2", "", "synthetic", detector)
    assert neutral.needs_rest(photo)
    made = neutral.rested(photo, WEIGHTS, detector)
    assert made.smile is not None
    assert np.array_equal(made.smile.portrait, photo.portrait)
    assert mouth_gap(made.landmarks) < 0.04 < mouth_gap(photo.landmarks)
    assert smile_of(made.coefficients) < 0.5 * smile_of(photo.coefficients)
    assert "brought to rest" in "\n".join(made.warnings)
    assert [f.text for f in made.report if f.name == "expression"] == [w for w in made.warnings if "brought" in w]


def test_a_resting_photo_is_left_alone(sam, detector):
    assert not neutral.needs_rest(sam)
    assert neutral.rested(sam, WEIGHTS, detector) is sam


def test_what_does_not_come_to_rest_stays_and_is_said(smiling, detector, monkeypatch):
    photo = onboard(smiling, "sam2", "", "synthetic", detector)
    monkeypatch.setattr(neutral, "at_rest", lambda *_: None)
    made = neutral.rested(photo, WEIGHTS, detector)
    assert np.array_equal(made.portrait, photo.portrait)
    assert made.smile is None
    assert "could not be brought to rest" in "\n".join(made.warnings)
