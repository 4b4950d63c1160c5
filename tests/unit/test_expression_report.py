"""The page of `avatar eval expression`, what it warns of, and the measures that came with it: on made-up figures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from avatar import plugins
from avatar.engines.base import Engine
from avatar.errors import EngineError, StorageError, UsageError
from avatar.models.expression import metrics, report_page
from avatar.models.expression.doubts import doubts
from avatar.models.expression.evaluate import Drawn, _Table, figures, origin, tables
from avatar.models.expression.faces import Face, Pair

# --- measures ---------------------------------------------------------------------------------------------------------


def test_the_place_among_the_known_people():
    apart = np.array([[0.1, 0.5, 0.9], [0.2, 0.3, 0.1], [0.4, 0.4, 0.4]])
    assert metrics.ranks(apart).tolist() == [1, 3, 3]  # a tie is no recognition
    assert metrics.ranks(np.array([[0.0, 1.0, 0.5]])).tolist() == [1]


def test_the_inception_formula_from_its_definition():
    assert metrics.inception_formula(np.full((5, 4), 0.25)) == pytest.approx(1)
    assert metrics.inception_formula(np.eye(4)) == pytest.approx(4)
    assert metrics.inception_formula(np.tile([1.0, 0, 0, 0], (6, 1))) == pytest.approx(1)  # sure, and all alike
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    by_hand = np.exp(np.mean([sum(row * np.log(row / p.mean(0))) for row in p]))
    assert metrics.inception_formula(p) == pytest.approx(by_hand)


def test_the_scale_of_the_identity_classifier_is_the_likeliest():
    rng = np.random.default_rng(0)
    apart = rng.uniform(0.5, 0.9, (30, 30))
    apart[np.arange(30), np.arange(30)] = rng.uniform(0.2, 0.6, 30)

    def likelihood(scale):
        return np.log(metrics.identity_classes(apart, scale)[np.arange(30), np.arange(30)]).sum()

    best = metrics.identity_scale(apart)
    assert 1e-3 < best < 1
    assert all(likelihood(best) >= likelihood(other) for other in (best / 2, best * 2, 1e-3, 1.0))
    assert metrics.identity_classes(apart, best).sum(1) == pytest.approx(np.ones(30))


# --- a made-up result -------------------------------------------------------------------------------------------------


def face(seed, who, smile):
    """A face-like disc with a mouth; its descriptor is the person's."""
    rng = np.random.default_rng(seed)
    pixels = np.full((256, 256, 3), 90 + 6 * who, np.uint8)
    pixels[170:182, 100 - smile : 156 + smile] = 200
    pixels = np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)
    points = rng.uniform(60, 200, (468, 2)).astype(np.float32)
    points[[61, 291, 0, 17]] = [(100 - smile, 176), (156 + smile, 176), (128, 168), (128, 186)]
    descriptor = np.zeros(128, np.float32)
    descriptor[who] = 0.5
    return Face(pixels, points, descriptor + rng.normal(0, 0.01, 128).astype(np.float32))


@pytest.fixture(scope="module")
def made():
    """Five people; ``good`` draws their smile nearly, ``bad`` somebody else's face."""
    pairs, rows = [], {"copy": [], "good": [], "bad": []}
    for who in range(5):
        neutral, smile = face(who, who, 0), face(50 + who, who, 24)
        pairs.append(Pair(f"<b>{who}</b>", neutral, smile, None, None))
        rows["copy"].append(Drawn(neutral, 0.0))
        rows["good"].append(Drawn(Face(face(100 + who, who, 20).pixels, smile.points, smile.descriptor), 5.0))
        other = face(200 + who, (who + 1) % 5, 24)
        rows["bad"].append(Drawn(Face(other.pixels, smile.points, other.descriptor), 9.0, found=who != 2))
    result = {"task": "expression", "people": 5, "skipped": ["x.jpg: no face"], "failed": {"odd": "p1: too dark"}}
    result |= {"source": {"folder": "/faces", "dataset": None}, "notes": [], "units_on": 2}
    result |= figures(pairs, rows, [])
    for row in result["rows"].values():
        row["au"] = {"1": {"icc": 0.5, "leakage": 0.1, "spearman": 0.9}}
        row |= {"icc": 0.5, "leakage": 0.1, "spearman": 0.9}
    result["doubts"] = doubts(result)
    return result, pairs, rows


def test_rows_tell_good_from_bad(made):
    result, _, _ = made
    copy, good, bad = (result["rows"][name] for name in ("copy", "good", "bad"))
    assert good["psnr"] > copy["psnr"]
    assert bad["psnr"] > copy["psnr"]  # another person's smile: only identity sees it
    assert (good["rank1"], bad["rank1"]) == (1, 0)
    assert bad["identity_margin"] < 0 < good["identity_margin"]
    assert bad["rank5"] == 1  # there are five people
    assert bad["no_face"] == 1
    assert good["identity_inception"] == pytest.approx(5, abs=0.1)
    assert [one["name"] for one in good["each"]] == [f"<b>{n}</b>" for n in range(5)]


def test_what_cannot_be_trusted_is_said(made):
    result, _, _ = made
    said = {d["measure"]: d["text"] for d in result["doubts"]}
    assert "5 people are few" in said["all"]
    assert re.search(r"rank-1 is 1\.000 for the no-op, .*and so has good: among 5 people", said["rank1"])
    assert "bad" not in said["rank1"]
    assert "no Inception network" in said["identity_inception"]
    assert "bad: no face was found in 1" in said["landmark_error"]
    assert "leakage" in said


def test_no_doubt_where_there_is_no_reason(made):
    result = {**made[0], "people": 60, "judge": {"accuracy": 0.95, "smile_found": 0.95, "neutral_taken_for_smile": 0}}
    row = {**result["rows"]["good"], "psnr_over_copy": {"lo": 0.5, "mean": 1, "hi": 1.5}, "judged": 0.9}
    row["identity_distance"] = result["real"]["identity_distance"]
    copy = {**result["rows"]["copy"], "rank1": 0.98}
    said = {d["measure"] for d in doubts({**result, "rows": {"copy": copy, "good": row}})}
    assert said == {"identity_inception", "icc", "leakage"}
    row = {**row, "psnr_over_copy": {"lo": -0.5, "mean": 0.2, "hi": 0.9}}
    (text,) = [d["text"] for d in doubts({**result, "rows": {"copy": copy, "good": row}}) if d["measure"] == "psnr"]
    assert text.startswith("good: +0.20 dB over the no-op, 95 % interval -0.50 to +0.90")


def test_the_page_stands_alone_and_shows_best_and_worst(made):
    html = report_page.page(*made)
    assert html.startswith("<!doctype html>")
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(?!data:)\w""", html)
    assert "<script" not in html
    for name in ("good", "bad"):
        assert f"{name}: best, middle, worst" in html
    assert html.count("<img") >= 3 * 4 + 2 * 3 * 5
    assert "rank-1 is 1.000 for the no-op" in html
    assert "odd is not in the table: it cannot draw p1: too dark" in html
    assert "left out: x.jpg: no face" in html


def test_names_are_text_and_never_markup(made):
    html = report_page.page(*made)
    assert "<b>0</b>" not in html
    assert "&lt;b&gt;0&lt;/b&gt;" in html


def test_the_no_op_is_never_the_best(made):
    html = report_page.page(*made)
    ground = re.findall(r'<tr class="ground">.*?</tr>', html)
    assert ground
    assert not any("best" in row for row in ground)
    assert 'class="best"' in html


def test_the_page_is_written_whole_or_not_at_all(made, tmp_path):
    report_page.write(tmp_path / "r.html", *made)
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    (tmp_path / "d.html").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        report_page.write(tmp_path / "d.html", *made)
    for bad in (tmp_path / "r.pdf", tmp_path / "no" / "r.html"):
        with pytest.raises(UsageError, match="--report"):
            report_page.check(bad)


def test_the_table_says_doubts_too(made):
    ((title, heads, rows, notes),) = tables(made[0])
    assert title == "neutral to smile, 5 people"
    assert {"rank-5", "id-IS", "ICC", "leak"} <= set(heads)
    assert [row[0] for row in rows] == ["copy", "good", "bad", "real"]
    assert any(note.startswith("beware: rank-1 is 1.000") for note in notes)


def test_whose_figures_these_are():
    source = {"dataset": "rafd", "title": "RaFD", "subjects": 67, "pairs": 57, "standing": "complete"}
    assert origin({"source": source, "people": 57}) == " of RaFD"
    assert origin({"source": source, "people": 10}) == " of RaFD, 10 of 67 subjects"
    assert origin({"source": source | {"standing": "made"}, "people": 57}) == " made for tests in the layout of RaFD"
    assert origin({"source": {"dataset": None}, "people": 3}) == ""


def test_an_engine_that_cannot_draw_somebody_leaves_the_table(made, monkeypatch):
    class Timid(Engine):
        name = "timid"

        def __init__(self, bundle, size, weights):
            raise EngineError("the photo is too dark for it")

        def render(self, state):
            raise AssertionError

    monkeypatch.setattr(plugins, "load", lambda group, name: Timid)
    table = _Table(["timid"])
    for pair in made[1][:2]:
        table.add(pair, None, None)
    assert list(table.rows) == ["copy"]
    assert len(table.rows["copy"]) == 2
    assert table.failed == {"timid": "<b>0</b>: the photo is too dark for it"}
