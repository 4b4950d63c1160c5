"""`avatar datasets` and `avatar study` as a user runs them, and a data set under `avatar eval expression`."""

from __future__ import annotations

import json
import re

import cv2
import face_fixtures as made
import numpy as np
import pytest

from avatar.core.facs import arkit_vector
from avatar.core.types import FaceState, Ns, freeze
from avatar.models.data.faces.sample import MADE
from avatar.parts import find_avatar, make_engine

SMILE = {"mouthSmile": 0.7, "eyeSquint": 0.3, "mouthUpperUp": 0.2, "jawOpen": 0.15}


def painter():
    """Draws shipped avatars, who do not exist, in place of the models 28, 45 and 63."""
    engines = {
        model: make_engine("head", find_avatar(name), 384)
        for model, name in (("28", "raf"), ("45", "sam"), ("63", "lin"))
    }

    def paint(person, smile):
        return engines[person].render(FaceState(Ns(0), freeze(arkit_vector({k: v * smile for k, v in SMILE.items()}))))

    return paint


@pytest.fixture(scope="module")
def radboud(tmp_path_factory):
    return made.rafd(tmp_path_factory.mktemp("rafd"), painter())


def test_datasets_are_listed_with_licence_and_where_to_apply(avatar):
    said = json.loads(avatar("datasets", "--json").stdout)
    assert {row["name"] for row in said["datasets"]} == set(made.WRITERS)
    assert all(row["licence"] and "http" in row["apply"] for row in said["datasets"])
    text = avatar("datasets").stdout
    assert "rafd.socsci.ru.nl" in text
    assert "not to be passed on" in text


@pytest.mark.parametrize("name", list(made.WRITERS))
def test_a_folder_says_what_it_holds(avatar, tmp_path, name):
    folder = made.WRITERS[name](tmp_path / "set")
    run = avatar("datasets", "--data", folder, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (said["dataset"], said["standing"]) == (name, "made")
    assert said["subjects"] >= 2
    assert "made for tests: not the data set" in avatar("datasets", "--data", folder).stdout


@pytest.mark.parametrize("what", ["none", "other", "nowhere", "fault"])
def test_a_folder_that_is_none_is_one_line(avatar, tmp_path, what):
    folder = tmp_path / "set"
    options = []
    if what == "other":
        made.oulu(folder)
        options = ["--dataset", "rafd"]
    elif what == "none":
        folder.mkdir()
    elif what == "fault":
        made.ck(folder)
        made.text(folder / "Emotion" / "S005" / "001" / "S005_001_00000011_emotion.txt", "joy\n")
    run = avatar("datasets", "--data", folder, *options)
    assert (run.returncode, run.stdout) == (2, "")
    assert len(run.stderr.strip().splitlines()) == 1
    if what == "fault":
        assert re.search(r"S005_001_00000011_emotion\.txt, line 1: 'joy'", run.stderr)


@pytest.mark.slow
def test_a_data_set_is_judged_and_its_name_is_not_lent_to_a_fixture(avatar, radboud, tmp_path):
    pytest.importorskip("dlib", reason="identity needs dlib (extra: test)")
    page = tmp_path / "report.html"
    keep = tmp_path / "kept"
    run = avatar(
        "eval", "expression", "--data", radboud, "--engine", "head", "--units", "1", "--report", page,
        "--keep", keep, "--json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["people"] == 2  # the child is left out
    assert said["source"]["dataset"] == "rafd"
    assert said["source"]["standing"] == "made"
    copy, head = said["rows"]["copy"], said["rows"]["head"]
    assert copy["rank1"] == copy["rank5"] == 1
    assert head["psnr"] > copy["psnr"] + 2
    assert head["icc"] > 0.7 > 0.1 > copy["icc"]
    assert copy["leakage"] == 0 < head["leakage"]
    assert set(head["au"]) == set(copy["au"])
    assert 1 <= head["identity_inception"] <= said["people"] + 1e-6
    about = {doubt["measure"] for doubt in said["doubts"]}
    assert about >= {"all", "rank1", "identity_inception", "icc"}
    html = page.read_text()
    assert "made for tests in the layout of RaFD" in html
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert html.count("data:image/jpeg;base64,") >= 8
    assert {p.parent.name for p in (keep / "study").rglob("*.png")} == {"real", "copy", "head"}
    run = avatar("study", "create", "judged", "--items", keep / "study", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["conditions"] == ["copy", "head", "real"]


@pytest.mark.slow
def test_a_part_of_a_data_set_is_called_a_part(avatar, radboud, tmp_path):
    pytest.importorskip("dlib", reason="identity needs dlib (extra: test)")
    folder = tmp_path / "some"
    folder.mkdir()
    for path in radboud.iterdir():
        if path.name != MADE:
            (folder / path.name).write_bytes(path.read_bytes())
    run = avatar("eval", "expression", "--data", folder, "--units", "0", "--limit", "1")
    assert run.returncode == 0, run.stderr
    said = " ".join(run.stdout.split())
    assert "of RaFD (Radboud Faces Database), 1 of 3 subjects" in said
    assert "cannot be compared" in said or "not comparable" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--dataset", "jaffe"), "no data set named"),
        (("--dataset", "ck+"), "not laid out as CK"),
        (("--report", "page.txt"), "ends in .html"),
        (("--report", "nowhere/page.html"), "there is no folder"),
        (("--units", "-1"), "not a whole number"),
    ],
)
def test_wrong_use_is_one_line(avatar, radboud, options, says):
    run = avatar("eval", "expression", "--data", radboud, *options)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_a_study_from_the_command_line(avatar, tmp_path):
    for condition in ("a", "b"):
        for item in range(3):
            made.put(tmp_path / "items" / condition / f"{item}.png", np.full((8, 8, 3), 9, np.uint8))
    assert "no study is kept" in avatar("study", "list").stdout
    run = avatar("study", "create", "one", "--items", tmp_path / "items")
    assert run.returncode == 0, run.stderr
    assert "avatar study serve one" in run.stdout
    assert json.loads(avatar("study", "list", "--json").stdout)["studies"] == [{"study": "one", "raters": 0}]
    result = avatar("study", "result", "one")
    assert "no figures before 15 have: 15 more are needed" in result.stdout
    refused = avatar("study", "export", "one", "-o", tmp_path / "f.csv")
    assert refused.returncode == 2
    assert "nothing is given out before 15" in refused.stderr
    assert not (tmp_path / "f.csv").exists()
    assert avatar("study", "delete", "one").returncode == 0
    gone = avatar("study", "serve", "one")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "no study named 'one'" in gone.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "x"), "--items"),
        (("create",), "say which study"),
        (("serve", "x", "--host", "0.0.0.0"), "token"),
        (("export", "x"), "-o F.csv"),
    ],
)
def test_wrong_use_of_studies(avatar, words, says):
    run = avatar("study", *words)
    assert (run.returncode, run.stdout) == (2, "")
    assert says in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_pictures_are_read_back_as_they_were_drawn(radboud):
    """The fixture itself: what is painted is a face, of the size that was asked for."""
    picture = cv2.imread(str(next(radboud.glob("Rafd090_28_*happy_frontal.jpg"))))
    assert picture.shape == (384, 384, 3)
