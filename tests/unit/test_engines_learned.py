"""The learned methods as engines: a still face is the photo, a told one changes where it should, an expression is found
among units."""

import cv2
import numpy as np
import pytest

from avatar.core.facs import from_action_units
from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze
from avatar.engines.learned import expressions, face
from avatar.engines.learned.changed import Change
from avatar.engines.learned.ganimation import GanimationEngine
from avatar.errors import ModelFileError
from avatar.models import registry
from avatar.parts import library
from avatar.testing.contracts import check_engine

WEIGHTS = registry.weights_dir()
ENGINES = [GanimationEngine, expressions.StarganEngine, expressions.ExprganEngine]
SIZE = 256


@pytest.fixture(scope="module")
def bundle():
    shelf = library()
    return shelf.load(shelf.names()[0])


@pytest.fixture(scope="module", params=ENGINES, ids=lambda kind: kind.name)
def engine(request, bundle):
    return request.param(bundle, SIZE, WEIGHTS)


def state(turn=Pose(), gaze=Gaze(), **units):  # noqa: B008 - immutable
    shown = {int(name.removeprefix("au")): value for name, value in units.items()}
    return FaceState(Ns(0), freeze(from_action_units(shown)), turn, gaze)


@pytest.mark.parametrize("kind", ENGINES, ids=lambda kind: kind.name)
def test_they_keep_the_contract_of_engines(kind, bundle):
    check_engine(lambda size: kind(bundle, size, WEIGHTS))


def test_a_still_face_is_the_photo_to_the_last_bit(engine, bundle):
    assert (engine.render(state()) == bundle.at_size(SIZE)[0]).all()


def test_a_smile_changes_the_face_and_nothing_around_it(engine, bundle):
    photo, landmarks = bundle.at_size(SIZE)
    moved = np.abs(engine.render(state(au12=1.0)).astype(int) - photo).max(2)
    mouth = landmarks[[61, 291, 0, 17], :2].mean(0).astype(int)
    assert moved[mouth[1] - 8 : mouth[1] + 8, mouth[0] - 16 : mouth[0] + 16].max() > 8
    back = face.frame(landmarks)
    corners = np.array([(-1, -1), (face.SIZE, face.SIZE)]) - back[:, 2]
    low, high = np.sort(corners @ np.linalg.inv(back[:, :2]).T, 0)
    outside = np.ones((SIZE, SIZE), bool)
    y0, y1 = (int(v) for v in np.clip((low[1] - 2, high[1] + 3), 0, SIZE))
    x0, x1 = (int(v) for v in np.clip((low[0] - 2, high[0] + 3), 0, SIZE))
    outside[y0:y1, x0:x1] = False
    assert not moved[outside].any()


def test_more_of_a_unit_changes_more(engine, bundle):
    photo = bundle.at_size(SIZE)[0].astype(int)
    faint, strong = (np.abs(engine.render(state(au12=x, au26=0.3 * x)) - photo).mean() for x in (0.2, 1.0))
    assert 0 < faint < strong


def test_what_is_drawn_is_what_the_network_answered(engine, bundle):
    photo, landmarks = bundle.at_size(SIZE)
    change = engine.change(face.units_of({1: 1.0, 2: 1.0, 12: 1.0}))
    assert np.abs(change.flow).max() > 0.5, "pixels of the crop"
    x, y = np.indices((face.SIZE, face.SIZE), np.float32)[::-1] + change.flow
    seen = np.ascontiguousarray(engine.seen[0].transpose(1, 2, 0))
    answer = cv2.remap(seen, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) + change.colour.transpose(1, 2, 0)
    drawn, still = (face.planes(face.cut(p, face.frame(landmarks))[None])[0].transpose(1, 2, 0)
                    for p in (engine.laid(change), photo))  # fmt: skip
    inside = np.s_[8:-8, 8:-8]
    missed, changed = (np.abs(one - answer)[inside].mean() for one in (drawn, still))
    assert missed < 0.25 * changed


def test_a_flow_moves_the_photo_itself(engine, bundle):
    photo, landmarks = bundle.at_size(SIZE)
    flow = np.zeros((2, face.SIZE, face.SIZE), np.float32)
    flow[1] = 2.0
    drawn = engine.laid(Change(flow, np.zeros((3, face.SIZE, face.SIZE), np.float32)))
    x, y = np.linalg.inv(face.frame(landmarks)[:, :2]) @ (0.0, 2.0)
    moved = cv2.warpAffine(photo, np.array([(1, 0, -x), (0, 1, -y)]), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    eyes = landmarks[[33, 263], :2].astype(int)
    there = np.s_[eyes[:, 1].min() - 10 : eyes[:, 1].max() + 10, eyes[0, 0] : eyes[1, 0]]
    missed, changed = (np.abs(drawn[there].astype(int) - other[there]).mean() for other in (moved, photo))
    assert missed < 0.1 * changed


def test_the_same_state_gives_the_same_bytes_whatever_came_before(engine):
    first = engine.render(state(au12=0.6))
    engine.render(state(au4=1.0, turn=Pose.degrees(8, 3, 2), gaze=Gaze(0.2, 0.1)))
    assert (engine.render(state(au12=0.6)) == first).all()


def test_the_head_turns_and_the_eyes_look(engine):
    still = engine.render(state()).astype(int)
    assert np.abs(engine.render(state(turn=Pose.degrees(10, 0, 0))) - still).mean() > 1
    assert np.abs(engine.render(state(gaze=Gaze(0.25, 0))) - still).max() > 10


def test_without_its_file_it_says_so(engine, bundle, tmp_path):
    import shutil

    shutil.copyfile(WEIGHTS / "map.npz", tmp_path / "map.npz")
    with pytest.raises(ModelFileError, match=r"\.onnx is missing") as said:
        type(engine)(bundle, SIZE, tmp_path)
    assert "\n" not in str(said.value)


def test_an_expression_is_found_among_its_units():
    for number, label in enumerate(face.LABELS[1:]):
        found = expressions.shares(0.7 * face.units_of(face.EXPRESSIONS[label]))
        assert found[number] == pytest.approx(0.7, abs=1e-5)
        assert np.delete(found, number) == pytest.approx(0, abs=1e-5)


def test_nothing_is_no_expression():
    assert not expressions.shares(np.zeros(len(face.UNITS), np.float32)).any()


def test_the_crop_has_the_eyes_twenty_pixels_apart(bundle):
    _, landmarks = bundle.at_size(SIZE)
    into = face.frame(landmarks)
    eyes = landmarks[[33, 133, 362, 263], :2].reshape(2, 2, 2).mean(1) @ into[:, :2].T + into[:, 2]
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(20, abs=1e-3)
    assert eyes[:, 1] == pytest.approx(24.75, abs=1e-3)
