"""The shipped head basis: what the engine relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

import avatar.models
from avatar.core.facs import ARKIT, INDEX, arkit_vector
from avatar.errors import ModelFileError
from avatar.models.head_basis.preview import Camera, visible_parts
from avatar.portrait.basis import LANDMARKS, PARTS, HeadBasis, loop_matrix
from avatar.portrait.fit import on_landmarks

FILE = Path(avatar.models.__file__).parent / "weights" / "head_basis.npz"
LIP_UPPER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LIP_LOWER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
LIDS = {
    "Right": ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    "Left": ((398, 384, 385, 386, 387, 388, 466), (382, 381, 380, 374, 373, 390, 249)),
}
CALM = ("mouthSmile", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthPress", "mouthFrown", "browDown")


@pytest.fixture(scope="module")
def basis() -> HeadBasis:
    return HeadBasis.load(FILE)


@pytest.fixture(scope="module")
def coarse() -> HeadBasis:
    return HeadBasis.load(FILE, subdivide=False)


def marks(basis: HeadBasis, **coefficients: float) -> np.ndarray:
    return basis.landmarks(basis.shape(arkit_vector(coefficients)))


def drawn_gap(points: np.ndarray, upper: tuple[int, ...], lower: tuple[int, ...]) -> np.ndarray:
    """Height of each upper point over the line through the lower ones."""
    low = points[list(lower)]
    return points[list(upper), 1] - np.interp(points[list(upper), 0], low[:, 0], low[:, 1])


@pytest.mark.parametrize("subdivide", [True, False])
def test_shapes_and_types(subdivide: bool) -> None:
    b = HeadBasis.load(FILE, subdivide=subdivide)
    v, t, k = len(b.vertices), len(b.triangles), len(b.identities)
    assert b.vertices.shape == (v, 3)
    assert b.expressions.shape == (52, v, 3)
    assert b.identities.shape == (k, v, 3)
    assert b.triangles.shape == (t, 3)
    assert b.triangle_part.shape == (t,)
    assert b.vertex_part.shape == (v,)
    assert b.landmark_vertices.shape == b.landmark_weights.shape == (LANDMARKS, 3)
    for name in ("vertices", "expressions", "identities", "landmark_weights"):
        assert getattr(b, name).dtype == np.float32, name
    assert b.triangles.dtype == b.landmark_vertices.dtype == np.int32
    assert b.triangles.min() == 0
    assert b.triangles.max() == v - 1
    assert not b.vertices.flags.writeable
    assert all(np.isfinite(getattr(b, n)).all() for n in ("vertices", "expressions", "identities"))
    assert t < 32_000


def test_file_is_small() -> None:
    assert FILE.stat().st_size < 6_000_000


def test_every_part_is_there_and_owns_its_vertices(basis: HeadBasis) -> None:
    assert set(basis.triangle_part.tolist()) == set(range(len(PARTS)))
    skin = np.unique(basis.triangles[basis.triangle_part == PARTS.index("skin")])
    lining = np.unique(basis.triangles[basis.triangle_part == PARTS.index("lining")])
    assert not np.intersect1d(skin, lining).size
    assert (basis.vertex_part[skin] == PARTS.index("skin")).all()
    assert basis.vertices[basis.vertices_of("eye_left"), 0].min() > 0
    assert basis.vertices[basis.vertices_of("eye_right"), 0].max() < 0


def test_every_shape_moves_something_and_eyeballs_never_move(basis: HeadBasis) -> None:
    largest = np.linalg.norm(basis.expressions, axis=2).max(1)
    weak = [name for name, size in zip(ARKIT, largest, strict=True) if size < 0.05]
    assert not weak
    assert not basis.expressions[:, basis.vertices_of("eye_left", "eye_right")].any()


def test_left_and_right_are_mirror_images(coarse: HeadBasis) -> None:
    skin = coarse.vertices_of("skin")
    rest = coarse.vertices[skin]
    distance, pair = cKDTree(rest).query(rest * [-1, 1, 1])
    assert distance.max() < 2e-3
    for name in (n for n in ARKIT if n.endswith("Left")):
        left = coarse.expressions[INDEX[name], skin]
        right = coarse.expressions[INDEX[name[:-4] + "Right"], skin]
        assert np.abs(left - right[pair] * [-1, 1, 1]).max() < 5e-3, name


def test_left_is_the_pictures_right(basis: HeadBasis) -> None:
    for name in ("eyeBlinkLeft", "mouthSmileLeft", "browDownLeft", "noseSneerLeft"):
        size = np.linalg.norm(basis.expressions[INDEX[name]], axis=1)
        assert (size * basis.vertices[:, 0]).sum() / size.sum() > 0.5, name


def test_jaw_open_parts_the_lips_and_nothing_mixes_them(basis: HeadBasis) -> None:
    opened = marks(basis, jawOpen=1)
    assert opened[13, 1] - opened[14, 1] > 1.0
    assert drawn_gap(opened, LIP_UPPER, LIP_LOWER).min() > 0.4
    rest = marks(basis)
    moved = rest[:, 1] - opened[:, 1]
    assert moved[list(LIP_UPPER[2:-2])].max() < moved[list(LIP_LOWER[2:-2])].min()
    # A U and not a V: half-way to the corners the mouth is open by more than half.
    gap = opened[list(LIP_UPPER), 1] - opened[list(LIP_LOWER), 1]
    assert gap[2] > 0.65 * gap[4]
    assert opened[13, 1] > rest[13, 1] - 0.2  # the upper lip does not follow the jaw


def test_mouth_is_shut_at_rest_and_stays_shut(basis: HeadBasis) -> None:
    assert np.abs(drawn_gap(marks(basis), LIP_UPPER, LIP_LOWER)).max() < 0.05
    for name in CALM:
        assert drawn_gap(marks(basis, **{name: 1.0}), LIP_UPPER, LIP_LOWER).max() < 0.12, name
    assert drawn_gap(marks(basis, jawOpen=0.5, mouthClose=0.5), LIP_UPPER, LIP_LOWER).max() < 0.1


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_blink_closes_the_lids(basis: HeadBasis, side: str) -> None:
    upper, lower = LIDS[side]
    assert drawn_gap(marks(basis), upper, lower)[3] > 0.5
    assert np.abs(drawn_gap(marks(basis, **{"eyeBlink" + side: 1.0}), upper, lower)).max() < 0.08


@pytest.mark.parametrize("name", ["eyeBlink", "eyeLookDown", "eyeSquint"])
def test_lids_slide_over_the_eyeball(basis: HeadBasis, name: str) -> None:
    ball = basis.vertices[basis.vertices_of("eye_left")]
    centre = np.array([(ball[:, 0].min() + ball[:, 0].max()) / 2, (ball[:, 1].min() + ball[:, 1].max()) / 2, 0])
    radius = (ball[:, 2].max() - centre[2]) * 1.0
    for weight in (0.5, 1.0):
        upper = marks(basis, **{name: weight})[list(LIDS["Left"][0])]
        assert np.linalg.norm(upper - centre, axis=1).min() > radius - 0.02, weight


@pytest.mark.parametrize("name", ["jawOpen", "jawLeft", "jawForward", "mouthSmileLeft", "mouthFunnel"])
def test_teeth_are_rigid(basis: HeadBasis, name: str) -> None:
    upper, lower = basis.vertices_of("teeth_upper"), basis.vertices_of("teeth_lower")
    moved = basis.vertices + basis.expressions[INDEX[name]]

    def distances(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[::7, None] - points[None, ::7], axis=2)

    for teeth in (upper, lower):
        assert np.abs(distances(moved[teeth]) - distances(basis.vertices[teeth])).max() < 0.01
    assert np.abs(basis.expressions[INDEX[name], upper]).max() == 0  # the upper teeth belong to the skull


def test_lower_teeth_follow_the_jaw(basis: HeadBasis) -> None:
    lower = basis.vertices_of("teeth_lower")
    assert basis.expressions[INDEX["jawOpen"], lower, 1].mean() < -1.5
    assert basis.expressions[INDEX["jawLeft"], lower, 0].mean() > 0.2


def test_teeth_stay_behind_shut_lips(basis: HeadBasis) -> None:
    front = basis.vertices[basis.vertices_of("teeth_upper", "teeth_lower"), 2].max()
    assert front < basis.landmarks(basis.vertices)[13, 2]


def test_tongue_comes_out_over_the_lower_lip(basis: HeadBasis) -> None:
    tongue = basis.vertices_of("tongue")
    face = basis.shape(arkit_vector({"tongueOut": 1}))
    lips = basis.landmarks(face)
    assert face[tongue, 2].max() > lips[14, 2] + 0.5
    crossing = face[tongue][np.abs(face[tongue, 2] - lips[14, 2]) < 0.3]
    assert len(crossing)
    assert crossing[:, 1].min() > lips[14, 1]
    assert basis.vertices[tongue, 2].max() < basis.landmarks(basis.vertices)[14, 2]  # inside at rest


@pytest.mark.parametrize("subdivide", [True, False])
def test_landmarks_lie_on_the_skin(subdivide: bool) -> None:
    b = HeadBasis.load(FILE, subdivide=subdivide)
    assert np.allclose(b.landmark_weights.sum(1), 1, atol=1e-5)
    assert b.landmark_weights.min() > -1e-5
    assert (b.vertex_part[b.landmark_vertices] == PARTS.index("skin")).all()
    triangles = {tuple(sorted(t)) for t in b.triangles.tolist()}
    assert all(tuple(sorted(t)) in triangles for t in b.landmark_vertices.tolist())


def test_what_is_seen(basis: HeadBasis) -> None:
    """Drawn from the front: shut lips hide the teeth, shut lids the eyeballs, and an open mouth shows what is in it."""
    camera = Camera(size=400, half_angle=6.5)
    rest = visible_parts(basis, {}, camera)
    teeth = "teeth_upper", "teeth_lower", "gums"
    assert rest["skin"] > 40_000
    assert min(rest["eye_left"], rest["eye_right"]) > 400
    for calm in ({}, {"mouthSmile": 1.0}, {"mouthPucker": 1.0}, {"mouthPress": 1.0}, {"mouthFrown": 1.0}):
        seen = visible_parts(basis, calm, camera)
        assert sum(seen[part] for part in (*teeth, "tongue")) <= 4, calm
    blink = visible_parts(basis, {"eyeBlink": 1.0}, camera)
    assert blink["eye_left"] + blink["eye_right"] == 0
    yawn = visible_parts(basis, {"jawOpen": 1.0}, camera)
    assert min(yawn["tongue"], yawn["lining"]) > 200
    assert min(yawn["teeth_upper"], yawn["teeth_lower"]) > 20
    grin = visible_parts(basis, {"mouthSmile": 0.8, "jawOpen": 0.15, "mouthUpperUp": 0.3}, camera)
    assert grin["teeth_upper"] > 400


def test_landmarks_look_like_a_face(basis: HeadBasis) -> None:
    p = basis.landmarks(basis.vertices)
    assert p[10, 1] > p[151, 1] > p[1, 1] > p[13, 1] > p[152, 1]  # forehead, brow, nose, lips, chin
    assert p[1, 2] == p[:, 2].max() or p[4, 2] == p[:, 2].max()  # nothing is further out than the nose
    assert p[263, 0] > 0 > p[33, 0]  # the subject's left eye is at x > 0
    assert np.abs(p[[1, 4, 13, 14, 152, 10], 0]).max() < 0.05
    many = basis.landmarks(np.stack([basis.vertices, basis.vertices + 1]))
    assert many.shape == (2, LANDMARKS, 3)
    assert np.allclose(many[1] - many[0], 1, atol=1e-5)


def test_subdivision_keeps_the_landmarks(basis: HeadBasis, coarse: HeadBasis) -> None:
    distance = np.linalg.norm(basis.landmarks(basis.vertices) - coarse.landmarks(coarse.vertices), axis=1)
    assert distance.max() < 0.2
    assert distance.mean() < 0.05


def test_lips_of_skin_and_lining_coincide(basis: HeadBasis) -> None:
    """No gap opens between the skin and the mouth's lining, whatever the face does."""
    skin, lining = basis.vertices_of("skin"), basis.vertices_of("lining")
    distance, partner = cKDTree(basis.vertices[lining]).query(basis.vertices[skin])
    rim, partner = skin[distance < 1e-5], lining[partner[distance < 1e-5]]
    assert len(rim) >= 60
    opened = basis.shape(arkit_vector({"jawOpen": 1, "mouthSmile": 0.5, "mouthFunnel": 0.5}))
    assert np.abs(opened[rim] - opened[partner]).max() < 5e-3


def test_identities_are_ordered_and_keep_the_mouth_shut(basis: HeadBasis, coarse: HeadBasis) -> None:
    size = np.linalg.norm(coarse.identities, axis=(1, 2))
    assert (np.diff(size) < 1e-3 * size[0]).all()
    for mode in basis.identities:
        for sign in (-2, 2):
            points = basis.landmarks(basis.vertices + sign * mode)
            assert drawn_gap(points, LIP_UPPER, LIP_LOWER).max() < 0.08


def test_shape_adds_identity_and_expression(basis: HeadBasis) -> None:
    weights = np.array([1.0, -0.5], np.float32)
    face = basis.shape(arkit_vector({"jawOpen": 0.5}), weights)
    expected = basis.vertices + 0.5 * basis.expressions[INDEX["jawOpen"]]
    expected = expected + basis.identities[0] - 0.5 * basis.identities[1]
    assert np.allclose(face, expected, atol=1e-4)


def test_loop_matrix_keeps_planes_and_corners() -> None:
    triangles = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    points = np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [5, 5]], float)
    matrix, edges, corner_edges = loop_matrix(len(points), triangles)
    assert matrix.shape == (len(points) + 8, len(points))
    assert edges.shape == (8, 2)
    assert np.allclose(np.asarray(matrix.sum(1)).ravel(), 1)
    moved = matrix @ points
    assert np.allclose(moved[0], 0)
    assert np.allclose(moved[5], 5)
    assert np.allclose(moved[1], [0.75, 0])  # a border vertex moves towards its border neighbours only
    assert {tuple(e) for e in edges[corner_edges[0]].tolist()} == {(0, 1), (1, 2), (0, 2)}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.npz: the head basis is missing"):
        HeadBasis.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head_basis.npz"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a head basis") as caught:
        HeadBasis.load(path)
    assert "\n" not in str(caught.value)


def test_cut_off_file(tmp_path: Path) -> None:
    path = tmp_path / "head_basis.npz"
    path.write_bytes(FILE.read_bytes()[:100_000])
    with pytest.raises(ModelFileError):
        HeadBasis.load(path)


def test_another_version(tmp_path: Path) -> None:
    with np.load(FILE) as z:
        arrays = {name: z[name] for name in z.files}
    arrays["format"] = np.array(99)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ModelFileError, match="another version"):
        HeadBasis.load(tmp_path / "other.npz")


def test_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(ModelFileError, match="not a head basis"):
        HeadBasis.load(tmp_path / "other.npz")


def test_brows_frown_inwards_and_rise_where_they_are_asked_to(coarse: HeadBasis) -> None:
    at = on_landmarks(coarse, coarse.expressions)
    inner, middle, outer = [336, 285], [334, 282], [300, 276]
    down = at[INDEX["browDownLeft"]]
    assert down[inner, 1].mean() < 1.1 * down[middle, 1].mean() < 0
    assert down[inner, 0].mean() < -0.1
    up = at[INDEX["browInnerUp"]]
    assert up[inner, 1].mean() > 4 * up[outer, 1].mean()
    up = at[INDEX["browOuterUpLeft"]]
    assert up[outer, 1].mean() > 2.5 * up[inner, 1].mean()


def test_raised_cheeks_leave_the_brows_alone(coarse: HeadBasis) -> None:
    at = on_landmarks(coarse, coarse.expressions)[INDEX["cheekSquintLeft"]]
    assert np.abs(at[[336, 285, 334, 282, 300, 276]]).max() < 0.03
    assert at[[374, 373, 380], 1].mean() > 0.2
