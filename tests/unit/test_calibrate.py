"""How a calibration runs from the first sound to what is kept, in virtual time and without devices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from test_calibrations import HABITS, SPEAKER, small_head

from avatar import calibrate
from avatar.analysis.calibration import Material, Piece, Sight
from avatar.calibrate import Calibrator
from avatar.calibrations import Calibrations
from avatar.core.clock import Clock
from avatar.core.types import SECOND, Ns, VideoFrame
from avatar.errors import CalibrationError, DeviceError, RunError, UsageError
from avatar.store import Store
from avatar.streams.base import Source
from avatar.testing.fakes import FakeSource, silence
from avatar.testing.virtual_loop import InlineLane, VirtualClock, run_virtual

PIECE = Piece(np.zeros(16_000, np.float32), np.arange(30) / 30, np.zeros((30, 3)))


class Notes:
    """In place of the observer: counts."""

    error: ClassVar[CalibrationError | None] = None
    latest: ClassVar[Notes]

    def __init__(self, weights: Path) -> None:
        self.chunks = self.frames = 0
        type(self).latest = self

    def begin(self, pts: Ns) -> None:
        pass

    def hear(self, chunk: Any) -> None:
        self.chunks += 1

    @property
    def sight(self) -> Sight:
        return Sight(self.chunks / 50, 0.0, True, True, False, "")

    def finish(self) -> Material:
        if self.error is not None:
            raise self.error
        return Material((PIECE,), SPEAKER, HABITS)


class Lookers:
    closed: ClassVar[int] = 0

    def __init__(self, model: Path) -> None:
        pass

    def step(self, frame: VideoFrame, notes: Notes) -> None:
        notes.frames += 1

    def close(self) -> None:
        type(self).closed += 1


class FakeCamera(Source[VideoFrame]):
    """30 pictures a second.

    :param fail: raised at once in place of opening.
    :param lasts: seconds until it ends by itself.
    """

    name = "fake-camera"

    def __init__(self, fail: Exception | None = None, lasts: float = 1e9) -> None:
        self._fail, self._lasts = fail, lasts
        self.closed = 0

    async def open(self, clock: Clock) -> None:
        self._clock = clock
        if self._fail is not None:
            raise self._fail

    async def items(self) -> AsyncIterator[VideoFrame]:
        begin = self._clock.now()
        while self._clock.now() < begin + self._lasts * SECOND:
            await self._clock.sleep_until(Ns(self._clock.now() + SECOND // 30))
            yield VideoFrame(self._clock.now(), np.zeros((4, 4, 3), np.uint8))

    async def close(self) -> None:
        self.closed += 1


async def write_small_head(material: Material, out: Path, progress: Any) -> None:
    progress(1, 2)
    await asyncio.sleep(5)
    small_head().save(out)
    progress(2, 2)


@pytest.fixture(autouse=True)
def _nothing_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "ThreadLane", InlineLane)
    monkeypatch.setattr(calibrate, "Observer", Notes)
    monkeypatch.setattr(calibrate, "Eyes", Lookers)
    monkeypatch.setattr(calibrate, "learn", write_small_head)
    monkeypatch.setattr(calibrate, "check_ready", lambda: None)
    monkeypatch.setattr(calibrate.registry, "path", lambda name: Path(name))
    Notes.error, Lookers.closed = None, 0


@pytest.fixture
def store(tmp_path: Path) -> Calibrations:
    return Calibrations(Store(tmp_path / "data"))


def start(store: Calibrations, seconds: float = 60.0, camera: FakeCamera | None = None, **more: Any) -> Calibrator:
    made = Calibrator(store)
    microphone = more.pop("microphone", None) or FakeSource(silence(600))
    made.start("me", microphone, camera or FakeCamera(), VirtualClock(), seconds, **more)
    return made


def test_it_records_learns_keeps_and_says_where_it_stands(store: Calibrations) -> None:
    states: list[str] = []
    over: list[int] = []

    async def finished() -> None:
        over.append(1)

    async def main() -> dict[str, Any]:
        made = start(store, finished=finished)
        while made.busy:
            if made.status["state"] not in states:
                states.append(made.status["state"])
            await asyncio.sleep(0.5)
        await made.wait()
        return made.status

    status = run_virtual(main())
    assert states == ["recording", "learning"]
    assert (status["state"], status["error"], status["name"], status["learnt"]) == ("done", "", "me", [2, 2])
    assert status["words"] == HABITS.words()
    assert store.chosen == "me"
    assert store.load("me").habits == HABITS
    assert over == [1]
    assert Notes.latest.chunks == pytest.approx(60 * 50, abs=5)
    assert Notes.latest.frames == pytest.approx(60 * 30, abs=5)
    assert Lookers.closed == 1


def test_enough_ends_the_recording_early(store: Calibrations) -> None:
    async def main() -> None:
        made = start(store)
        await asyncio.sleep(20)
        made.enough()
        await made.wait()

    run_virtual(main())
    assert Notes.latest.chunks == pytest.approx(20 * 50, abs=20)
    assert store.chosen == "me"


@pytest.mark.parametrize("after", [20.0, 62.0])
def test_cancel_keeps_nothing_while_recording_and_while_learning(store: Calibrations, after: float) -> None:
    camera = FakeCamera()

    async def main() -> dict[str, Any]:
        made = start(store, camera=camera)
        await asyncio.sleep(after)
        await made.cancel()
        await made.cancel()
        return made.status

    assert run_virtual(main())["state"] == "idle"
    assert store.names() == []
    assert camera.closed == Lookers.closed == 1


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (FakeCamera(fail=DeviceError("camera 0 cannot be opened; plug it in")), "cannot be opened"),
        (FakeCamera(lasts=10), "the camera stopped before the end"),
    ],
)
def test_a_camera_that_cannot_be_had_or_goes_away(store: Calibrations, camera: FakeCamera, says: str) -> None:
    async def main() -> dict[str, Any]:
        made = start(store, camera=camera)
        with pytest.raises((DeviceError, CalibrationError), match=says):
            await made.wait()
        return made.status

    status = run_virtual(main())
    assert status["state"] == "failed"
    assert says in status["error"]
    assert store.names() == []
    assert camera.closed == 1


def test_a_microphone_that_is_unplugged(store: Calibrations) -> None:
    async def main() -> dict[str, Any]:
        made = start(store, microphone=FakeSource(silence(600), fail_after=500))
        with pytest.raises(DeviceError):
            await made.wait()
        return made.status

    assert run_virtual(main())["error"] == "unplugged"


def test_a_recording_that_is_not_good_enough_leaves_the_old_one_in_use(store: Calibrations) -> None:
    async def main(error: CalibrationError | None) -> dict[str, Any]:
        Notes.error = error
        made = start(store)
        with suppress(CalibrationError):
            await made.wait()
        return made.status

    run_virtual(main(None))
    first = store.load("me").made
    status = run_virtual(main(CalibrationError("no face was seen; sit before the camera", "no-face")))
    assert (status["state"], status["code"]) == ("failed", "no-face")
    assert store.chosen == "me"
    assert store.load("me").made == first


def test_wrong_starts(store: Calibrations, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        made = start(store)
        for seconds, name, says in ((60.0, "me", "already"), (1.0, "me", "5 to 600"), (60.0, "auto", "cannot be")):
            other = made if says == "already" else Calibrator(store)
            with pytest.raises(UsageError, match=says):
                other.start(name, FakeSource(silence(1)), FakeCamera(), VirtualClock(), seconds)
        await made.cancel()

    run_virtual(main())


def test_what_is_missing_is_said_before_anybody_reads(monkeypatch: pytest.MonkeyPatch, store: Calibrations) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(calibrate, "NEEDS", ("no_such_package",))

    async def main() -> None:
        with pytest.raises(RunError, match=r"pip install 'vultus\[calibrate\]'"):
            start(store)

    run_virtual(main())


@pytest.mark.timeout(300)  # a process that gives way, on a machine that may be busy
async def test_the_process_that_learns_says_why_it_could_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    short = Piece(np.zeros(160, np.float32), np.array([0.0]), np.zeros((1, 3)))
    with pytest.raises(RunError, match="learning failed"):
        await calibrate.learn(Material((short,), SPEAKER, HABITS), tmp_path / "head.npz")
    assert not (tmp_path / "head.npz").exists()
