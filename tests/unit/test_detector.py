"""The guess about unmarked pictures: its features, its learning, and its honesty about missing weights."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from avatar import plugins
from avatar.errors import ModelFileError, UsageError
from avatar.models.trust.detector import detector, fit, held_out, judged, learnt, roc
from avatar.models.trust.detector_data import ALONE, Sample, _names, _square
from avatar.models.trust.pieces import Pieces, version
from avatar.trust.detector import Detector, features


def clip(noise: float, count: int = 12) -> list[np.ndarray]:
    """A picture that stands still, with a camera's noise of so many grey levels."""
    rng = np.random.default_rng(3)
    still = cv2.resize(data.astronaut(), (256, 256)).astype(np.float32)
    return [np.clip(still + rng.normal(0, noise, still.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_one_picture_and_a_clip_have_features_of_their_own_whatever_the_size():
    for shape in ((256, 256), (512, 512), (360, 640)):
        picture = cv2.resize(data.astronaut(), shape[::-1])
        one, several = features([picture]), features([picture] * 12)
        assert (one.shape, several.shape) == ((35,), (43,))
        assert np.isfinite(one).all()
        assert np.isfinite(several).all()
    flat = [np.full((256, 256, 3), 90, np.uint8)] * 12
    assert np.isfinite(features(flat)).all()


def test_a_picture_that_never_rests_is_told_from_one_that_does():
    rest, noisy = features(clip(0.0)), features(clip(4.0))
    assert rest[-2] > 0.99, "nothing changes"
    assert noisy[-2] < 0.5


def test_learning_separates_what_can_be_separated_and_doubts_the_rest():
    rng = np.random.default_rng(5)
    ours = np.arange(200) % 4 == 0
    found = rng.normal(0, 1, (200, 6))
    found[:, 2] += 3.0 * ours
    weights = fit(found, ours)
    scores = np.array([weights.score(row) for row in found])
    assert (scores[ours] > 0.5).mean() > 0.85
    assert (scores[~ours] < 0.5).mean() > 0.85
    assert np.abs(weights.weight).argmax() == 2
    blind = fit(rng.normal(0, 1, (400, 2)), np.arange(400) % 2 == 0)
    assert abs(blind.score(np.zeros(2)) - 0.5) < 0.1


def test_without_weights_or_data_it_says_so(tmp_path):
    with pytest.raises(ModelFileError, match="missing or damaged"):
        Detector(tmp_path / "detector.npz")
    with pytest.raises(UsageError, match="--data"):
        detector(tmp_path)
    with pytest.raises(UsageError, match="faces/london"):
        detector(tmp_path, tmp_path)


def rows_of(groups: int, each: int, told: float, rng: np.random.Generator) -> list[Sample]:
    """Groups of clips with a look of their own; ``told`` = how far ours lie from a camera's in one feature."""
    made = []
    for number in range(groups):
        source, look = ("head" if number % 2 else "video"), rng.normal(0, 3.0, 43)
        for _ in range(each):
            found = look + rng.normal(0, 0.1, 43)
            found[30] = told * (number % 2) + rng.normal()
            made.append(Sample("clip", source, f"g{number}", found.tolist()))
    return made


def test_nothing_of_a_judged_group_is_learnt_from():
    """Each group's own look tells all about it; held out, it must tell nothing."""
    rng = np.random.default_rng(7)
    rows = rows_of(24, 10, 0.0, rng)
    ours = np.array([row.ours for row in rows])
    met = np.array([learnt(rows).score(np.array(row.found)) for row in rows])
    unmet = held_out(rows, lambda row: row.group)
    assert roc(met[ours], met[~ours])["auc"] > 0.9
    assert roc(unmet[ours], unmet[~ours])["auc"] < 0.7
    really = rows_of(40, 8, 6.0, rng)
    scores, ours = held_out(really, lambda row: row.group), np.array([row.ours for row in really])
    assert roc(scores[ours], scores[~ours])["auc"] > 0.9


def test_a_camera_of_which_there_is_more_counts_no_more():
    rng = np.random.default_rng(8)
    rows = rows_of(8, 10, 4.0, rng)
    more = rows + [row for row in rows if row.group == "g0"] * 9
    one, other = learnt(rows), learnt(more)
    probe = np.array(rows[25].found)
    assert one.score(probe) == pytest.approx(other.score(probe), abs=0.25)


def test_the_judgement_names_every_source_and_the_engine_that_was_left_out():
    rng = np.random.default_rng(9)
    rows = rows_of(8, 6, 6.0, rng)
    rows += [Sample("clip", "animation", "a", rng.normal(0, 1, 43).tolist()) for _ in range(5)]
    rows += [Sample("clip", "screen", "g1", rng.normal(0, 1, 43).tolist()) for _ in range(4)]
    rows += [
        Sample("clip", "eri", f"g{2 * n + 1}", r.found) for n in range(4) for r in rows if r.group == f"g{2 * n + 1}"
    ]
    stills = [
        Sample("still", row.source if row.source != "video" else "photograph", row.group, row.found) for row in rows
    ]
    said = judged([*rows, *stills])["clip"]
    assert set(said["errors_at_half"]) == {"animation", "eri", "head", "screen", "video"}
    assert set(said["errors_by_camera"]) == {"g0", "g2", "g4", "g6"}
    assert set(said["errors_of_engines_not_learnt"]) == {"eri", "head", "screen"}
    assert [point["found"] for point in said["roc"]] == sorted(point["found"] for point in said["roc"])
    assert not [row for row in rows if row.learnt and row.source in ("animation", *ALONE)]


def test_every_engine_gets_its_turn():
    drawn = {name for index in range(9) for name in _names(index)}
    assert drawn == set(plugins.names("engines"))


def test_the_middle_of_a_picture_has_even_sides():
    assert _square(np.zeros((145, 176, 3), np.uint8)).shape == (144, 144, 3)


def test_pieces_are_measured_once_and_again_where_the_code_has_changed(tmp_path):
    calls = []

    def measure() -> int:
        calls.append(1)
        return 5

    assert Pieces(tmp_path, None, "a").of("x", measure) == 5
    assert Pieces(tmp_path, None, "a").of("x", measure) == 5
    assert len(calls) == 1
    assert Pieces(tmp_path, None, "b").of("x", measure) == 5
    assert len(calls) == 2
    late = Pieces(tmp_path, 0.0, "b")
    assert (late.of("x", measure), late.of("y", measure), late.missing) == (5, None, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    (tmp_path / "m.py").write_text("a")
    before = version(tmp_path)
    (tmp_path / "m.py").write_text("b")
    assert version(tmp_path) != before
