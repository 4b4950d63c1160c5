"""The judge of smiles and the network for faces."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import drawn_face

from avatar.models.expression import judge
from avatar.models.expression.align import align
from avatar.models.expression.identity import FaceNet, distances

pytest.importorskip("sklearn", reason="needs the extra: test")


def people(count: int, seed: int = 0):
    """Made-up features: a person's own direction, and one that all smiles share."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1, (count, 50)).astype(np.float32)
    smile = np.zeros(50, np.float32)
    smile[7] = 6
    return [f"p{i:02}" for i in range(count)], list(own), list(own + smile)


def test_it_learns_what_smiles_share():
    names, neutral, smile = people(20)
    made = judge.SmileJudge(names, neutral, smile)
    assert made.accuracy > 0.9
    assert made.smiles(smile).mean() > 0.9
    assert made.smiles(neutral).mean() < 0.1


def test_nobody_is_judged_by_what_was_learnt_of_them():
    """Labels that hold for one person only cannot be known to the others."""
    names, neutral, smile = people(20)
    rng = np.random.default_rng(1)
    for i in range(20):
        if rng.random() < 0.5:
            neutral[i], smile[i] = smile[i], neutral[i]
    assert judge.SmileJudge(names, neutral, smile).accuracy < 0.75


def test_it_needs_somebody_else():
    names, neutral, smile = people(1)
    with pytest.raises(ValueError, match="two people"):
        judge.SmileJudge(names, neutral, smile)


def test_features_do_not_change():
    pixels, _ = align(drawn_face().portrait, drawn_face().landmarks)
    first = judge.describe(pixels)
    assert first.shape == (8100,)
    np.testing.assert_array_equal(first, judge.describe(pixels))
    assert np.linalg.norm(first - judge.describe(np.ascontiguousarray(pixels[:, ::-1]))) > 0.1


def test_a_face_is_nearer_to_itself_than_to_another():
    pytest.importorskip("dlib", reason="needs the extra: test")
    from avatar.parts import library

    net = FaceNet()
    found = []
    for name in ("ada", "raf"):
        bundle = library().load(name)
        for bright in (1.0, 0.8):
            pixels, points = align((bundle.portrait * bright).astype(np.uint8), bundle.landmarks)
            found.append(net.describe(pixels, points))
    assert found[0].shape == (128,)
    apart = distances(found, found)
    np.testing.assert_allclose(np.diag(apart), 0, atol=1e-6)
    assert apart[0, 1] < 0.35 < 0.5 < apart[0, 2]
