"""Photo to avatar: every kind of file, every kind of bad photo."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from avatar.core import facs
from avatar.errors import ConsentError, PhotoError, UsageError
from avatar.models import registry
from avatar.portrait import bundle, checks
from avatar.portrait.landmarks import FACE_OVAL, DetectedFace, LandmarkDetector
from avatar.portrait.onboard import _refuse, cut_square, find_face, onboard, portrait_square
from avatar.portrait.photo import MAX_SIDE, read_photo
from avatar.portrait.report import report, warnings_of

AVATARS = sorted(p.name for p in registry.avatars_dir().iterdir() if p.is_dir())


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


def encoded(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def picture(width: int = 60, height: int = 40) -> np.ndarray:
    """Red, green, blue and white quarters: every turn of it looks different."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (220, 30, 30)
    rgb[: height // 2, width // 2 :] = (30, 200, 30)
    rgb[height // 2 :, : width // 2] = (30, 30, 210)
    rgb[height // 2 :, width // 2 :] = 240
    return rgb


def face(**changes) -> DetectedFace:
    """A resting face of 200 pixels in the middle of a picture of 400."""
    points = np.full((478, 3), 200, np.float32)
    angle = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    points[list(FACE_OVAL), 0] = 200 + 85 * np.sin(angle)
    points[list(FACE_OVAL), 1] = 200 - 100 * np.cos(angle)
    points[468, :2], points[473, :2] = (165, 180), (235, 180)
    for outer, inner, upper, lower, x in ((33, 133, 159, 145, 165), (263, 362, 386, 374, 235)):
        points[outer, :2], points[inner, :2] = (x - 15, 180), (x + 15, 180)
        points[upper, :2], points[lower, :2] = (x, 175), (x, 185)
    coefficients = np.zeros(52, np.float32)
    for name, value in changes.pop("arkit", {}).items():
        coefficients[facs.INDEX[name]] = value
    gap = changes.pop("mouth_gap", 0.0)
    points[13, :2], points[14, :2] = (200, 240), (200, 240 + gap)
    lids = changes.pop("lids", 5.0)
    for upper, lower in ((159, 145), (386, 374)):
        points[upper, 1], points[lower, 1] = 180 - lids, 180 + lids
    values = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "translation": (0.0, 0.0, -500.0)} | changes
    return DetectedFace(points, coefficients, **values)


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b"", "empty", "empty"),
        (b"this is no picture", "format", "not a picture that can be read"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(40), "format", "HEIC"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "format", "not a picture"),
        (encoded(Image.fromarray(picture(600, 400)), "JPEG")[:4000], "damaged", "damaged"),
        (encoded(Image.fromarray(picture(600, 400)), "PNG")[:300], "damaged", "damaged"),
    ],
)
def test_unusable_files_are_one_clear_line(content, code, text):
    with pytest.raises(PhotoError, match=text) as caught:
        read_photo(content)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(PhotoError, match=r"nobody\.jpg: there is no such file"):
        read_photo(tmp_path / "nobody.jpg")
    with pytest.raises(PhotoError, match="cannot be read"):
        read_photo(tmp_path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_formats(form, tmp_path):
    file = tmp_path / "photo"
    file.write_bytes(encoded(Image.fromarray(picture()), form, **({"quality": 95} if form in ("JPEG", "WEBP") else {})))
    assert np.abs(read_photo(file)[5, 5].astype(int) - (220, 30, 30)).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    upright = Image.fromarray(picture())
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_photo(encoded(stored, "PNG", exif=exif)), picture())
    assert read_photo(encoded(stored, "JPEG", exif=exif)).shape == (40, 60, 3)


def test_cmyk_is_converted():
    rgb = read_photo(encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(rgb[5, 5].astype(int) - (220, 30, 30)).max() < 15
    assert np.abs(rgb[35, 55].astype(int) - 240).max() < 15


def test_sixteen_bits():
    grey = (np.linspace(0, 65535, 64)[None] * np.ones((8, 1))).astype(np.uint16)
    rgb = read_photo(encoded(Image.fromarray(grey), "PNG"))
    assert rgb.shape == (8, 64, 3)
    assert rgb[0, 0].max() <= 1
    assert rgb[0, -1].min() == 255
    assert abs(int(rgb[0, 32, 0]) - 129) <= 2
    colour = cv2.imencode(".png", np.full((4, 4, 3), (0, 32768, 65535), np.uint16))[1].tobytes()  # blue, green, red
    assert np.abs(read_photo(colour)[0, 0].astype(int) - (255, 128, 0)).max() <= 1


def test_transparency_shows_grey_and_not_what_lies_behind():
    rgba = np.dstack([picture(), np.full((40, 60), 255, np.uint8)])
    rgba[:20, :30, 3] = 0
    rgb = read_photo(encoded(Image.fromarray(rgba), "PNG"))
    assert rgb[5, 5].tolist() == [192, 192, 192]
    assert rgb[5, 55].tolist() == [30, 200, 30]
    palette = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE)
    hole = palette.getpixel((5, 5))
    assert read_photo(encoded(palette, "PNG", transparency=hole))[5, 5].tolist() == [192, 192, 192]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_refused_and_a_still_is_not(form):
    first, second = Image.fromarray(picture()), Image.fromarray(picture()[::-1].copy())
    with pytest.raises(PhotoError, match="animation") as caught:
        read_photo(encoded(first, form, save_all=True, append_images=[second]))
    assert caught.value.code == "animated"
    assert read_photo(encoded(first, form)).shape == (40, 60, 3)


def test_colour_profiles_are_converted():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(read_photo(encoded(Image.fromarray(picture()), "PNG", icc_profile=lab)), picture())
    broken = read_photo(encoded(Image.fromarray(picture()), "PNG", icc_profile=b"not a profile"))
    assert np.array_equal(broken, picture())


def test_forty_megapixels():
    fine = read_photo(encoded(Image.new("L", (7000, 5000), 90), "PNG"))  # 35
    assert max(fine.shape) == MAX_SIDE
    with pytest.raises(PhotoError, match=r"has 48 megapixels; scale it to 40 or less, or save it as JPEG") as caught:
        read_photo(encoded(Image.new("1", (8000, 6000)), "PNG"))
    assert caught.value.code == "large"
    phone = read_photo(encoded(Image.new("L", (8000, 6000), 90), "JPEG"))  # decoded at a reduced size
    assert max(phone.shape) <= MAX_SIDE
    assert phone.shape[1] / phone.shape[0] == pytest.approx(8000 / 6000, abs=0.01)
    with pytest.raises(PhotoError, match="too large"):
        read_photo(encoded(Image.new("1", (20000, 20000)), "PNG"))


# --- the face ----------------------------------------------------------------------------------------------------


def test_astronaut_becomes_an_avatar(detector, astronaut):
    made = onboard(astronaut, "eileen", "Eileen", "licensed", detector)
    assert made.portrait.shape == (512, 512, 3)
    assert not made.portrait.flags.writeable
    left, top, right, bottom = DetectedFace(made.landmarks, made.coefficients, 0, 0, 0, (0, 0, 0)).box
    assert (left + right) / 2 == pytest.approx(256, abs=12)
    assert 512 / max(bottom - top, 1.15 * (right - left)) == pytest.approx(1.95, abs=0.12)
    assert any("open smile" in line for line in made.warnings)
    assert any("enlarged" in line for line in made.warnings)
    assert all("\n" not in line for line in made.warnings)


@pytest.mark.parametrize("name", AVATARS)
def test_shipped_avatars_load_and_pass_their_own_checks(detector, name):
    avatar = bundle.load(registry.avatars_dir() / name)
    assert avatar.consent == "synthetic"
    assert "Nobody is pictured" in avatar.provenance
    assert avatar.warnings == ()
    found = find_face(avatar.portrait, detector)
    assert max(abs(found.yaw), abs(found.roll)) < 8
    assert np.abs(found.landmarks[:, :2] - avatar.landmarks[:, :2]).max() < 3
    assert warnings_of(report(avatar.portrait, found, found, {}, 1.0)) == ()
    assert (registry.avatars_dir() / name / "portrait.png").stat().st_size <= 700_000


def test_there_are_avatars_to_choose_from():
    assert len(AVATARS) >= 4


def test_refusals(detector, astronaut):
    def code(rgb: np.ndarray) -> str:
        with pytest.raises(PhotoError) as caught:
            onboard(rgb, "x", "", "self", detector)
        assert "\n" not in str(caught.value)
        return caught.value.code

    assert code(data.chelsea()) == "no_face"  # a cat
    assert code(np.zeros((3, 900, 3), np.uint8)) == "no_face"
    assert code(np.hstack([astronaut, astronaut])) == "faces"
    assert code(cv2.resize(astronaut, (400, 400), interpolation=cv2.INTER_AREA)) == "small"
    assert code(np.rot90(astronaut).copy()) == "sideways"
    assert code(np.rot90(astronaut, 2).copy()) == "sideways"
    assert code(astronaut[90:].copy()) == "cut"


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"yaw": 24.0}, "profile", "turned 24 degrees to the picture's right"),
        ({"yaw": -24.0}, "profile", "to the picture's left"),
        ({"pitch": 22.0}, "profile", "22 degrees up"),
        ({"pitch": -22.0}, "profile", "22 degrees down"),
        ({"roll": 35.0}, "tilted", "tilted by 35 degrees"),
    ],
)
def test_turned_heads_are_refused(changes, code, text):
    with pytest.raises(PhotoError, match=text) as caught:
        _refuse(face(**changes), np.zeros((400, 400, 3), np.uint8))
    assert caught.value.code == code
    _refuse(face(yaw=18.0, pitch=-18.0, roll=12.0), np.zeros((400, 400, 3), np.uint8))


def test_consent_and_name_are_asked_for(detector, astronaut):
    with pytest.raises(ConsentError, match="self, licensed, synthetic"):
        onboard(astronaut, "x", "", "", detector)
    with pytest.raises(UsageError, match="avatar name"):
        onboard(astronaut, "../x", "", "self", detector)


def test_a_small_face_in_a_large_picture_is_found(detector, sam):
    room = np.full((1500, 2400, 3), 110, np.uint8)
    room[900:1300, 1700:2100] = cv2.resize(sam.portrait, (400, 400), interpolation=cv2.INTER_AREA)
    found = find_face(room, detector)
    expected = sam.landmarks[1, :2] * (400 / 640) + (1700, 900)
    assert np.abs(found.landmarks[1, :2] - expected).max() < 4


def test_a_small_face_in_the_background_is_no_rival(detector, astronaut, sam):
    room = np.full((700, 1000, 3), 110, np.uint8)
    room[30:670, :640] = sam.portrait
    room[100:300, 760:960] = cv2.resize(astronaut[:300, 80:380], (200, 200), interpolation=cv2.INTER_AREA)
    found = find_face(room, detector)
    assert np.abs(found.landmarks[1, :2] - (sam.landmarks[1, :2] + (0, 30))).max() < 5


# --- warnings ----------------------------------------------------------------------------------------------------


def lines(rgb: np.ndarray, detector: LandmarkDetector) -> str:
    return "\n".join(onboard(rgb, "x", "", "self", detector).warnings)


def test_quality_warnings(detector, sam):
    assert lines(sam.portrait, detector) == ""
    assert "blurred" in lines(cv2.GaussianBlur(sam.portrait, (0, 0), 4), detector)
    assert "dark" in lines((sam.portrait * 0.25).astype(np.uint8), detector)
    assert "ends close to the face (bottom)" in lines(sam.portrait[:520].copy(), detector)


def test_dark_skin_is_not_a_dark_photo(detector):
    for name in ("ada", "sam"):
        portrait = bundle.load(registry.avatars_dir() / name).portrait
        assert "dark" not in lines((portrait * 0.7).astype(np.uint8), detector)


@pytest.mark.parametrize("name", ["sam", "iris", "lin"])
@pytest.mark.parametrize("colour", [(150, 190, 220), (25, 25, 28), (235, 235, 235)])
def test_a_face_mask_is_noticed(detector, name, colour):
    avatar = bundle.load(registry.avatars_dir() / name)
    covered = avatar.portrait.copy()
    outline = [197, 47, 50, 116, 177, 215, 138, 135, 169, 170, 140, 171, 175, 396, 369, 395, 394, 364, 367, 435, 401,
               345, 280, 277]  # fmt: skip
    cv2.fillPoly(covered, [avatar.landmarks[outline, :2].astype(np.int32)], colour, cv2.LINE_AA)
    assert "mouth seems to be covered" in lines(covered, detector)


@pytest.mark.parametrize("name", ["sam", "iris", "lin"])
def test_dark_glasses_are_noticed(detector, name):
    avatar = bundle.load(registry.avatars_dir() / name)
    covered = avatar.portrait.copy()
    for socket in (checks.SOCKET_RIGHT, checks.SOCKET_LEFT):
        hull = cv2.convexHull(avatar.landmarks[list(socket), :2].astype(np.int32))
        cv2.fillConvexPoly(covered, hull, (28, 24, 22), cv2.LINE_AA)
        cv2.polylines(covered, [hull], True, (28, 24, 22), 12, cv2.LINE_AA)
    assert "eyes are hidden" in lines(covered, detector)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"arkit": {"eyeBlinkLeft": 0.6, "eyeBlinkRight": 0.6}}, "eyes are closed"),
        ({"lids": 0.5}, "eyes are closed"),
        ({"mouth_gap": 10.0}, "the mouth is open"),
        ({"arkit": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}}, "shows a smile"),
        ({"arkit": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}, "mouth_gap": 10.0}, "open smile"),
    ],
)
def test_expression_warnings(changes, text):
    assert list(checks.expression(face())) == []
    (line,) = checks.expression(face(**changes))
    assert text in line


# --- cutting -----------------------------------------------------------------------------------------------------


def test_cutting_does_not_alias():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    small = cut_square(stripes, 0, 0, 1200, 500)
    assert np.abs(small.astype(int) - 127).max() < 30


def test_cutting_is_exact_in_place():
    dot = np.zeros((400, 400, 3), np.float32)
    dot[200, 100] = 255
    dot = cv2.GaussianBlur(dot, (0, 0), 4)
    dot = (dot / dot.max() * 255).astype(np.uint8)
    for side, size in ((200.0, 512), (300.5, 700)):
        cut = cut_square(dot, 60.25, 110.5, side, size)[..., 0].astype(float)
        y, x = (np.indices(cut.shape) * cut).sum((1, 2)) / cut.sum()
        scale = size / side
        assert (x, y) == pytest.approx(((100.5 - 60.25) * scale - 0.5, (200.5 - 110.5) * scale - 0.5), abs=0.5)


def test_beyond_the_edge_it_goes_on_softly():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    cut = cut_square(noise, -100, 0, 400, 400)
    assert np.array_equal(cut[:300, 100:], noise), "the photo's own pixels stay"
    streaks = np.abs(np.diff(cut[:300, 10].astype(int), axis=0)).mean()
    assert streaks < 0.1 * np.abs(np.diff(noise[:, 0].astype(int), axis=0)).mean()


def test_portrait_square_holds_the_head():
    left, top, side = portrait_square(face())
    assert side == pytest.approx(1.95 * 200, rel=0.02)
    assert left + side / 2 == pytest.approx(200, abs=1)
    assert top + side / 2 == pytest.approx(200 - 0.02 * side, abs=1)


# --- the detector ------------------------------------------------------------------------------------------------


def test_detector_signs_and_order(detector, sam):
    """Mirrored and turned pictures give mirrored and turned faces."""
    (plain, *_), (mirror, *_) = detector.detect(sam.portrait), detector.detect(sam.portrait[:, ::-1].copy())
    assert mirror.yaw == pytest.approx(-plain.yaw, abs=3)
    turn = cv2.getRotationMatrix2D((320, 320), 15, 1)  # anticlockwise
    turned = detector.detect(cv2.warpAffine(sam.portrait, turn, (640, 640)))[0]
    assert turned.roll - plain.roll == pytest.approx(15, abs=2.5)
    assert plain.landmarks[473, 0] > plain.landmarks[468, 0], "the subject's left eye is on the picture's right"
    assert plain.translation[2] < 0
    assert plain.coefficients[facs.INDEX["tongueOut"]] == 0


def test_detector_sees_a_smile(detector, astronaut):
    smiling = detector.detect(astronaut)[0]
    assert smiling.coefficient("mouthSmileLeft") > 0.5
    assert smiling.coefficient("mouthSmileRight") > 0.5


def test_detector_is_silent_and_closes(capfd, sam):
    (model,) = registry.fetch("face_landmarker_v2.task")
    found = LandmarkDetector(model)
    found.detect(sam.portrait)
    found.close()
    found.close()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    with pytest.raises(ValueError, match="closed"):
        found.detect(sam.portrait)


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_detector_refuses_another_file(tmp_path, content):
    from avatar.errors import ModelFileError

    file = tmp_path / "face_landmarker_v2.task"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match="avatar models fetch") as caught:
        LandmarkDetector(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelFileError, match="missing"):
        LandmarkDetector(Path(tmp_path / "none"))
