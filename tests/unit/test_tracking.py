"""Camera pictures to cues."""

import cv2
import numpy as np
import pytest
from skimage import data

from avatar.analysis.face_nets import FaceFile, FaceNets
from avatar.analysis.tracking import MIRRORED, FaceTracker, OneEuro, _Rest
from avatar.core import facs
from avatar.core.types import SECOND, BlinkCue, ExpressionCue, GazeCue, LipCue, Ns, PoseCue, VideoFrame, freeze
from avatar.errors import ModelFileError
from avatar.models import registry
from avatar.models.inputs import camera as judge
from avatar.models.landmarker import convert
from avatar.pipeline.stage import Stage
from avatar.portrait import bundle
from avatar.portrait.landmarks import LandmarkDetector
from avatar.sync.synchronizer import Style, Synchronizer

FPS = 30


def at(i: float) -> Ns:
    return Ns(round(i * SECOND / FPS))


@pytest.fixture(scope="module")
def file() -> FaceFile:
    (model,) = registry.fetch("face_landmarker_v2.task")
    return convert.read(model)


@pytest.fixture(scope="module", params=["networks", "task"])
def tracker(request, file):
    (model,) = registry.fetch("face_landmarker_v2.task")
    found = FaceTracker(FaceNets(file) if request.param == "networks" else model)
    yield found
    found.close()


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return cv2.resize(bundle.load(registry.avatars_dir() / "sam").portrait, (400, 400), interpolation=cv2.INTER_AREA)


def moved(face: np.ndarray, roll: float = 0.0, right: float = 0.0, up: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((200, 200), roll, zoom)
    matrix[:, 2] += (120 + right, 40 - up)
    return freeze(cv2.warpAffine(face, matrix, (640, 480), borderMode=cv2.BORDER_REPLICATE))


def by_kind(cues) -> dict[type, object]:
    assert [type(c) for c in cues] == [ExpressionCue, PoseCue, GazeCue, BlinkCue]
    return {type(c): c for c in cues}


def test_it_is_a_stage(tracker):
    assert isinstance(tracker, Stage)


def test_a_still_face_is_neutral(tracker, face):
    tracker.reset()
    for i in range(6):
        cues = by_kind(tracker.step(VideoFrame(at(i), moved(face))))
    assert all(c.pts == at(5) for c in cues.values())
    arkit = cues[ExpressionCue].arkit
    assert arkit.shape == (52,)
    assert arkit.dtype == np.float32
    assert not arkit.flags.writeable
    assert arkit.max() < 0.1, facs.ARKIT[int(arkit.argmax())]
    assert np.abs(cues[PoseCue].pose.euler).max() < 1
    assert np.abs(cues[PoseCue].pose.translation).max() < 5
    assert abs(cues[GazeCue].gaze.yaw) < 0.02
    assert cues[BlinkCue].left < 0.1
    assert cues[ExpressionCue].confidence == 1


def test_it_follows_roll_and_place_from_the_resting_pose(tracker, face):
    tracker.reset()
    for i in range(35):  # rest: tilted by 5 degrees, as a camera may be
        tracker.step(VideoFrame(at(i), moved(face, roll=5)))
    for i in range(35, 65):
        k = min(1, (i - 35) / 15)
        cues = by_kind(tracker.step(VideoFrame(at(i), moved(face, roll=5 + 14 * k, right=50 * k, up=30 * k))))
    yaw, pitch, roll = cues[PoseCue].pose.euler
    assert roll == pytest.approx(14, abs=2.5)
    assert abs(yaw) < 5
    assert abs(pitch) < 5
    x, y, _ = cues[PoseCue].pose.translation
    assert x > 20
    assert y > 10
    for i in range(65, 95):
        cues = by_kind(tracker.step(VideoFrame(at(i), moved(face, roll=5, zoom=1.1))))
    assert cues[PoseCue].pose.translation[2] > 15, "nearer is towards the viewer"


def test_no_face_gives_nothing_and_the_face_comes_back(tracker, face):
    tracker.reset()
    for i in range(5):
        assert tracker.step(VideoFrame(at(i), moved(face)))
    empty = freeze(np.full((480, 640, 3), 90, np.uint8))
    lost = [tracker.step(VideoFrame(at(i), empty)) for i in range(5, 12)]
    assert lost[-1] is None
    cues = [tracker.step(VideoFrame(at(i), moved(face))) for i in range(60, 64)]
    assert cues[-1] is not None
    assert np.abs(cues[-1][1].pose.euler).max() < 1.5


def test_a_smile_against_a_neutral_rest(tracker, face):
    """The rest is learned from one face, then another one smiles: the coefficients of the smile come through."""
    tracker.reset()
    for i in range(32):
        tracker.step(VideoFrame(at(i), moved(face)))
    smiling = cv2.resize(data.astronaut()[:280, 80:360], (480, 480))
    smiling = freeze(cv2.copyMakeBorder(smiling, 0, 0, 80, 80, cv2.BORDER_REPLICATE))
    for i in range(32, 60):
        cues = tracker.step(VideoFrame(at(i), smiling))
    assert cues is not None
    arkit = cues[0].arkit
    assert arkit[facs.INDEX["mouthSmileLeft"]] > 0.5
    assert arkit[facs.INDEX["mouthSmileRight"]] > 0.5


def test_large_pictures_give_the_same_as_small_ones(tracker, face):
    results = []
    for scale in (1, 2):
        tracker.reset()
        for i in range(35):
            picture = moved(face, roll=0 if i < 31 else 8)
            if scale > 1:
                picture = freeze(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
            cues = tracker.step(VideoFrame(at(i), picture))
        results.append(cues[1].pose.euler)
    assert np.abs(np.subtract(*results)).max() < 1.5


def test_reset_forgets_and_time_may_begin_anew(tracker, face):
    def run(start: float) -> list[np.ndarray]:
        tracker.reset()
        steps = [tracker.step(VideoFrame(at(start + i), moved(face, roll=i / 2))) for i in range(40)]
        return [np.array((*s[1].pose.euler, *s[0].arkit)) for s in steps]

    late, early = run(90_000), run(0)
    # The network's own tracking starts from the picture before; after a few pictures nothing of it is left.
    assert np.abs(late[-1] - early[-1]).max() < 1.0


def test_a_clock_that_jumps_back_without_a_reset_is_survived(tracker, face):
    tracker.reset()
    for i in (300, 301, 302, 0, 1, 2, 2, 2, 1):
        assert tracker.step(VideoFrame(at(i), moved(face))) is not None


# --- the face at rest --------------------------------------------------------------------------------------------


def coefficients(**values: float) -> np.ndarray:
    return facs.arkit_vector(values)


def learned(*samples: np.ndarray) -> _Rest:
    rest = _Rest()
    for i, sample in enumerate(samples):
        rest.learn(at(i), sample, np.array((4.0, -6.0, 2.0)), (10.0, 20.0, -500.0))
    return rest


def test_rest_is_taken_away_and_full_stays_full():
    rest = learned(*[coefficients(mouthFrownLeft=0.2, browInnerUp=0.1)] * 10)
    assert rest.shapes(coefficients(mouthFrownLeft=0.2, browInnerUp=0.1)).max() == 0
    assert rest.shapes(coefficients(mouthFrownLeft=1.0))[facs.INDEX["mouthFrownLeft"]] == pytest.approx(1)
    assert rest.angles(np.array((4.0, -6.0, 2.0))) == pytest.approx((0, 0, 0), abs=1e-6)
    assert rest.angles(np.array((14.0, -6.0, 2.0)))[0] == pytest.approx(10, abs=0.5)
    assert rest.place((15.0, 20.0, -480.0)) == pytest.approx((5, 0, 20))


def test_a_word_during_the_first_second_is_not_rest():
    quiet, word = coefficients(jawOpen=0.02), coefficients(jawOpen=0.6)
    rest = learned(*[quiet] * 20, *[word] * 10)
    assert rest.shapes(word)[facs.INDEX["jawOpen"]] == pytest.approx(0.6, abs=0.02)


def test_after_the_first_second_nothing_is_learned():
    rest = learned(*[coefficients()] * 31, *[coefficients(browInnerUp=0.3)] * 200)
    assert rest.shapes(coefficients(browInnerUp=0.3))[facs.INDEX["browInnerUp"]] == pytest.approx(0.3, abs=1e-6)


def test_shut_lids_reach_one():
    rest = learned(*[coefficients(eyeBlink=0.1)] * 10)
    assert rest.shapes(coefficients(eyeBlink=0.62))[facs.INDEX["eyeBlinkLeft"]] == 1
    assert rest.shapes(coefficients(eyeBlink=0.1))[facs.INDEX["eyeBlinkLeft"]] == 0


def test_gaze_is_relative_to_the_resting_gaze():
    up = coefficients(eyeLookUp=0.3)
    rest = learned(*[up] * 10)
    assert facs.eye_look(rest.shapes(up).astype(np.float32)) == pytest.approx((0, 0), abs=1e-6)
    level = rest.shapes(coefficients()).astype(np.float32)
    assert facs.eye_look(level)[1] == pytest.approx(-0.3 * facs.EYE_RANGE, rel=1e-3)
    right = rest.shapes(up + coefficients(eyeLookOutLeft=0.5, eyeLookInRight=0.5)).astype(np.float32)
    assert facs.eye_look(right)[0] == pytest.approx(0.5 * facs.EYE_RANGE, rel=1e-3)


# --- smoothing ---------------------------------------------------------------------------------------------------


def test_one_euro_calms_a_still_signal_and_follows_a_fast_one():
    rng = np.random.default_rng(3)
    calm = OneEuro(slow=1.5, gain=0.1)
    noise = rng.normal(0, 0.3, (120, 3))
    out = np.array([calm.step(at(i), value) for i, value in enumerate(noise)])
    assert out[30:].std() < 0.6 * noise[30:].std()
    lid = OneEuro(slow=3.0, gain=6.0)
    blink = np.concatenate([np.zeros(30), [0.5, 1.0, 1.0, 0.5], np.zeros(10)])
    out = np.array([lid.step(at(i), np.array([value]))[0] for i, value in enumerate(blink)])
    assert out.max() > 0.9, "a blink passes"
    assert abs(int(out.argmax()) - 32) <= 1, "and is not late"


def test_one_euro_survives_times_that_do_not_rise():
    smooth = OneEuro(slow=2.0, gain=0.0)
    first = smooth.step(at(5), np.array([1.0]))
    assert smooth.step(at(5), np.array([9.0])) == first
    assert smooth.step(at(4), np.array([9.0])) == first
    smooth.reset()
    assert smooth.step(at(0), np.array([9.0])) == 9.0


def test_a_known_rest_holds_where_the_first_second_is_an_expression():
    known = coefficients(mouthSmileLeft=0.1, browDownLeft=0.3)
    rest = _Rest(known)
    for i in range(30):  # begins with a grin, and with brows higher than usual
        rest.learn(at(i), coefficients(mouthSmileLeft=0.4, browDownLeft=0.1), np.zeros(3), (0, 0, 0))
    smile = rest.shapes(coefficients(mouthSmileLeft=0.4))[facs.INDEX["mouthSmileLeft"]]
    assert smile == pytest.approx((0.4 - 0.1) / 0.9, abs=0.01), "the grin is seen as one"
    brow = rest.shapes(coefficients(browDownLeft=0.1))[facs.INDEX["browDownLeft"]]
    assert brow == pytest.approx(0, abs=1e-6), "rest is never above what was seen"


def test_a_known_rest_says_nothing_about_where_the_eyes_look():
    known = coefficients(eyeLookInLeft=0.5, eyeLookOutRight=0.5)
    rest = _Rest(known)
    for i in range(30):
        rest.learn(at(i), coefficients(eyeLookOutLeft=0.2, eyeLookInRight=0.2), np.zeros(3), (0, 0, 0))
    assert np.abs(rest.shapes(coefficients(eyeLookOutLeft=0.2, eyeLookInRight=0.2))).max() < 0.01


# --- the networks run alone ----------------------------------------------------------------------------------------


def test_the_networks_alone_say_what_the_task_says(file, face):
    nets = FaceNets(file)
    (model,) = registry.fetch("face_landmarker_v2.task")
    with LandmarkDetector(model, mode="image", faces=1) as task:
        for roll, right in ((0, 0), (12, 30), (-8, -60)):
            picture = moved(face, roll=roll, right=right)
            nets.reset()
            ours, theirs = nets.detect(picture)[0], task.detect(picture)[0]
            assert np.abs(ours.landmarks - theirs.landmarks)[:, :2].mean() < 0.01 * theirs.eye_distance
            assert np.abs(ours.coefficients - theirs.coefficients).max() < 0.08
            assert abs(ours.yaw - theirs.yaw) + abs(ours.pitch - theirs.pitch) + abs(ours.roll - theirs.roll) < 2
            assert ours.translation == pytest.approx(theirs.translation, abs=12)
            # From the same points the same coefficients and pose: what differs is where each of them looks.
            same = nets._face(theirs.landmarks.astype(np.float64), 640, 480)
            assert np.abs(same.coefficients - theirs.coefficients).max() < 1e-3
            assert (same.yaw, same.pitch, same.roll) == pytest.approx((theirs.yaw, theirs.pitch, theirs.roll), abs=0.01)


def test_a_file_that_is_none_is_one_clear_line(tmp_path):
    (tmp_path / "a.task").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="avatar models fetch"):
        convert.read(tmp_path / "a.task")


@pytest.fixture(scope="module")
def two_faces() -> np.ndarray:
    """A smaller face on the left, a larger one on the right."""
    picture = np.full((480, 900, 3), 120, np.uint8)
    for name, size, x in (("max", 320, 40), ("sam", 420, 440)):
        portrait = bundle.load(registry.avatars_dir() / name).portrait
        picture[20 : 20 + size, x : x + size] = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
    return freeze(picture)


@pytest.mark.parametrize(("prefer", "right"), [("largest", True), ("left", False), ("right", True)])
def test_of_several_faces_the_chosen_one_is_followed(file, two_faces, prefer, right):
    nets = FaceNets(file, prefer)
    for _ in range(3):
        (found,) = nets.detect(two_faces)
        assert (found.landmarks[:, 0].mean() > 450) == right


def test_another_face_can_be_chosen_and_is_kept_through_a_loss(file, two_faces):
    nets = FaceNets(file)
    nets.choose(0.2, 0.4)
    for picture in (two_faces, np.zeros_like(two_faces), np.zeros_like(two_faces), two_faces):
        found = nets.detect(picture)
    assert found[0].landmarks[:, 0].mean() < 450


def test_a_mirror_changes_sides(file, face):
    plain, mirror = FaceTracker(FaceNets(file)), FaceTracker(FaceNets(file), mirror=True)
    for i in range(50):
        picture = moved(face, roll=0 if i < 35 else 12, right=0 if i < 35 else 40)
        a, b = by_kind(plain.step(VideoFrame(at(i), picture))), by_kind(mirror.step(VideoFrame(at(i), picture)))
    assert b[PoseCue].pose.euler == pytest.approx(np.array(a[PoseCue].pose.euler) * (-1, 1, -1), abs=1e-3)
    assert b[PoseCue].pose.translation[0] == pytest.approx(-a[PoseCue].pose.translation[0])
    assert b[ExpressionCue].arkit == pytest.approx(a[ExpressionCue].arkit[MIRRORED])
    assert b[GazeCue].gaze.yaw == pytest.approx(-a[GazeCue].gaze.yaw, abs=1e-6)
    assert (b[BlinkCue].left, b[BlinkCue].right) == (a[BlinkCue].right, a[BlinkCue].left)


@pytest.mark.parametrize("lost", [6, 12, 45])
def test_a_face_that_comes_back_does_not_jump(file, face, lost):
    """The head is turned while it is not seen: the state goes there no faster than a person would."""
    tracker, sync = FaceTracker(FaceNets(file)), Synchronizer()
    empty = freeze(np.full((480, 640, 3), 90, np.uint8))
    angles = []
    for i in range(40 + lost + 30):
        seen = not 40 <= i < 40 + lost
        picture = moved(face, roll=0 if i < 32 else 15 if i < 40 else -15) if seen else empty
        for cue in tracker.step(VideoFrame(at(i), picture)) or ():
            sync.push(cue, "camera")
        angles.append(sync.sample(at(i)).head.euler[2])
    assert angles[39] == pytest.approx(15, abs=3)
    assert angles[-1] == pytest.approx(-15, abs=3)
    assert np.abs(np.diff(angles[40:])).max() < 9, "degrees a picture; a jump would be 30"
    if lost == 45:
        assert abs(angles[40 + lost - 1]) < 0.1, "it has gone back to rest"


def test_smoothing_flattens_no_blink_and_is_never_late():
    assert judge.blinks(judge._shape_smoothing) < 0.10
    smooth = FaceTracker.pose_smoothing()
    turn = 20 * np.sin(2 * np.pi * np.arange(90) / 45)
    out = np.array([smooth.step(at(i), np.array([v]))[0] for i, v in enumerate(turn)])
    fine = np.arange(30, 89, 0.1)
    late = [
        np.corrcoef(np.interp(fine - k, np.arange(90), turn), np.interp(fine, np.arange(90), out))[0, 1]
        for k in np.arange(0, 3, 0.1)
    ]
    assert np.argmax(late) / 10 <= 1


def test_a_still_face_before_a_noisy_camera_is_still(file):
    shaken = judge.jitter(judge.watch(FaceNets(file), judge.still_face(60)))
    assert shaken["head_deg"] < 0.3
    assert shaken["coefficient"] < 0.02


# --- whose mouth it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mouth", "jaw"), [("auto", 0.8), ("voice", 0.8), ("camera", 0.2), ("both", 0.5)])
def test_the_mouth_is_the_voices_the_cameras_or_both(mouth, jaw):
    face = Synchronizer(Style(mouth=mouth))
    spoken, seen = coefficients(jawOpen=0.8), coefficients(jawOpen=0.2)
    visemes = np.eye(15, dtype=np.float32)[10]
    for i in range(30):
        face.push(LipCue(at(i), visemes, spoken, voiced=True), "voice")
        face.push(ExpressionCue(at(i), seen), "camera")
        state = face.sample(at(i))
    assert state.arkit[facs.INDEX["jawOpen"]] == pytest.approx(jaw, abs=0.02)
