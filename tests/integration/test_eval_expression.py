"""``avatar eval expression`` on people who do not exist: shipped avatars, made to smile by the engine itself."""

import json

import cv2
import pytest

from avatar.core.facs import arkit_vector
from avatar.core.types import FaceState, Ns, Pose, freeze
from avatar.parts import find_avatar, make_engine

PEOPLE = ("ada", "raf", "lin")
SMILE = {"mouthSmile": 0.7, "eyeSquint": 0.3, "mouthUpperUp": 0.2, "jawOpen": 0.15}
KEYS = {"psnr", "ssim", "mse", "mouth_psnr", "landmark_error", "judged", "identity_distance", "rank1", "ms"}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    lines = ["file,person,expression"]
    for name in PEOPLE:
        engine = make_engine("head", find_avatar(name), 384)
        smile = FaceState(Ns(0), freeze(arkit_vector(SMILE)), Pose.degrees(3, -2, 1))
        for expression, state in (("neutral", FaceState(Ns(0))), ("smile", smile)):
            file = f"{name}_{expression}.png"
            cv2.imwrite(str(folder / file), engine.render(state)[..., ::-1])
            lines.append(f"{file},{name},{expression}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_drawn_smiles_are_found_again(avatar, people, tmp_path):
    pytest.importorskip("dlib", reason="identity needs dlib (extra: test)")
    run = avatar("eval", "expression", "--data", people, "--engine", "head", "--keep", tmp_path / "sheets", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    copy, head = said["rows"]["copy"], said["rows"]["head"]
    assert said["people"] == 3
    assert set(copy) >= KEYS
    assert set(head) >= KEYS
    assert copy["identity_distance"] == 0
    assert copy["rank1"] == head["rank1"] == 1
    assert head["psnr"] > copy["psnr"] + 2
    assert head["mouth_psnr"] > copy["mouth_psnr"] + 2
    assert head["landmark_error"] < 0.7 * copy["landmark_error"]
    assert head["identity_margin"] > 0.1
    assert said["judge"]["accuracy"] >= 0.5
    sheet = cv2.imread(str(tmp_path / "sheets" / "smile_01.png"))
    assert sheet.shape == (3 * 256 + 20, 3 * 256, 3), "and the strip that says what it is"


def test_a_photo_without_a_face_is_left_out_and_named(avatar, people, tmp_path):
    pytest.importorskip("dlib", reason="identity needs dlib (extra: test)")
    cv2.imwrite(str(tmp_path / "wall.png"), cv2.UMat(300, 300, cv2.CV_8UC3, (90, 90, 90)).get())
    for file in people.glob("ada_*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "index.csv").write_text(
        "person,expression,file\nada,neutral,ada_neutral.png\nada,smile,ada_smile.png\n"
        "wall,neutral,wall.png\nwall,smile,wall.png\n"
    )
    run = avatar("eval", "expression", "--data", tmp_path, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["people"] == 1
    assert said["judge"] is None
    assert said["rows"]["head"]["rank1"] is None
    assert said["skipped"][0].startswith("wall.png: no face is found")


def test_single_units_are_drawn_and_measured(avatar, people, tmp_path):
    pytest.importorskip("dlib", reason="identity needs dlib (extra: test)")
    sheets = tmp_path / "sheets"
    run = avatar("eval", "generator", "--data", people, "--limit", "1", "--keep", sheets, "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["portraits"] == 1
    assert list(said["au"]) == [str(n) for n in (1, 2, 4, 5, 6, 10, 12, 15, 17, 18, 20, 22, 25, 26, 27, 45)]
    for unit in ("1", "12", "27", "45"):
        assert said["au"][unit]["spearman"] > 0.8
        assert said["au"][unit]["icc"] > 0.7
        assert said["au"][unit]["leakage"] < 0.5
    assert said["blink_closed"] == 1
    assert said["lids_meet"] == 1
    assert 0 < said["identity_distance"] < 0.4
    assert {path.name for path in sheets.iterdir()} == {f"units_{n}_01.png" for n in ("upper", "mouth", "jaw")}


@pytest.mark.parametrize(
    ("task", "options"), [("expression", ("--engine", "hat")), ("generator", ("--limit", "0")), ("expression", ())]
)
def test_wrong_use_is_one_line_and_exit_code_2(avatar, tmp_path, task, options):
    run = avatar("eval", task, "--data", tmp_path, *options)
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.strip().splitlines()) == 1
