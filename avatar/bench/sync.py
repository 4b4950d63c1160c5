"""Whether sound and picture leave together, measured at the far end of every real path.

One script of flashes and beeps (:mod:`avatar.testing.flash`) goes through each path, and what comes out is compared
event by event. Skew is positive where the sound leads (ITU-R BT.1359).

========  ==============================================================================================================
path      what is measured
========  ==============================================================================================================
file      ``avatar render`` to MP4, decoded by PyAV: time stamps of the pictures against those of the sound
webrtc    ``avatar run`` and a plain aiortc viewer in this process: RTP times on the sender's clock by each stream's own
          sender reports (``skew_ms``), and the moments at which the packets came (``arrival``)
browser   ``avatar run`` and headless Chromium: when the compositor shows a picture against when sound leaves Chromium's
          output (:mod:`avatar.testing.browser`)
vcam      ``avatar run`` with the virtual microphone, through PulseAudio to its monitor, and the virtual camera, stamped
          where pyvirtualcam hands a picture to the device. The kernel's part is left out: a real /dev/video needs a
          kernel module (tests/vcam has one in a virtual machine)
========  ==============================================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avatar.bench.process import running
from avatar.config import Config, load
from avatar.engines import choice
from avatar.errors import DeviceError, UsageError
from avatar.testing import flash
from avatar.testing.listener import Listener
from avatar.testing.relay import Impaired, Relay

if TYPE_CHECKING:
    from playwright.sync_api import Page

log = logging.getLogger(__name__)

PATHS = ("file", "webrtc", "browser", "vcam")
SETTLE = 10.0
"""Seconds in which buffers find their fill before anything counts."""
SPARE = 60.0
"""Seconds by which the script is longer than the measurement: programs need time to start."""
LOSSES, JITTERS = (0.0, 0.02, 0.05, 0.10), (0.0, 0.03, 0.08)


@dataclass(frozen=True, slots=True)
class Network:
    """What lies between engine and viewer."""

    loss: float = 0.0
    """Share of datagrams."""
    jitter: float = 0.0
    """Seconds."""

    @property
    def name(self) -> str:
        return f"loss{round(100 * self.loss)}_jitter{round(1000 * self.jitter)}"


@dataclass(frozen=True, slots=True)
class Job:
    """What all measurements share."""

    config: Config
    states: Path
    script: flash.Script
    mouth: flash.Mouth
    seconds: float

    ppm: float

    @contextmanager
    def engine(self, *settings: str, command: tuple[str, ...] = ()) -> Iterator[str]:
        """The engine as a process of its own, playing the script; its page's address."""
        common = (f"input.audio={dumps(str(self.states))}", 'input.video="none"', 'face.head="still"')
        if self.ppm:
            command = (*(command or ("avatar.testing.made_up",)), "--ppm", str(self.ppm))
        with running(self.config, *common, *settings, command=command or ("avatar.cli", "run")) as (address, _):
            yield address


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured."""

    paths: tuple[str, ...] = PATHS
    seconds: float = 30.0
    """Of every path."""
    networks: tuple[Network, ...] = ()
    """Bad ones that the paths with a network are measured with as well."""
    network_seconds: float = 30.0
    ppm: float = 0.0
    """How much too fast the devices' clocks run: the source's, and the virtual microphone's."""

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        """The command line's. Raises UsageError for an unknown path or impossible figures."""
        paths = tuple(name.strip() for name in args.paths.split(",") if name.strip()) or PATHS
        if unknown := set(paths) - set(PATHS):
            raise UsageError(f"--paths {args.paths}: no path {sorted(unknown)[0]!r}; there are {', '.join(PATHS)}")
        seconds = 30.0 if args.seconds is None else args.seconds
        if not (0 <= args.loss < 100 and args.jitter >= 0 and abs(args.ppm) <= 1000 and seconds >= 5):
            raise UsageError("--loss is a percentage, --jitter milliseconds, --ppm up to 1000, --seconds 5 or more")
        asked = Network(args.loss / 100, args.jitter / 1000)
        grid = tuple(Network(loss, jitter) for loss in LOSSES for jitter in JITTERS)[1:] if args.impaired else ()
        one = (asked,) if asked != Network() and asked not in grid else ()
        return cls(paths, seconds, one + grid, 20.0 if args.impaired else seconds, args.ppm)


def sync(config: Config, plan: Plan) -> dict[str, Any]:
    """``{"paths": {name: figures}}``; ``figures`` as in :func:`avatar.testing.flash.figures`, and under ``impaired``
    the same for every bad network."""
    measure: dict[str, Callable[[Job, Network], dict[str, Any]]] = {
        "file": _file,
        "webrtc": _webrtc,
        "browser": _browser,
        "vcam": _vcam,
    }
    # Ended from outside, it still has to end the engine and the browser.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    config = drawn_alike(config)
    mouth = mouth_of(config)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sync-") as folder:
        script = flash.Script.make(max(plan.seconds, plan.network_seconds) + SPARE)
        states = script.write(Path(folder), config.avatar.fps)
        job = Job(config, states, script, mouth, plan.seconds, plan.ppm)
        bad = replace(job, seconds=plan.network_seconds)
        for name in plan.paths:
            try:
                result[name] = measure[name](job, Network())
            except DeviceError as error:  # no Chromium, no PulseAudio: the other paths count all the same
                if len(plan.paths) == 1:
                    raise
                log.warning("%s: not measured: %s", name, error)
                result[name] = {"error": str(error)}
                continue
            if plan.networks and name in ("webrtc", "browser"):
                result[name]["impaired"] = {network.name: measure[name](bad, network) for network in plan.networks}
    return {"paths": result, "seconds": plan.seconds, "ppm": plan.ppm}


def drawn_alike(config: Config) -> Config:
    """One engine, at its best, in the place of the one that a measurement at the start chooses: what opens the mouth
    here must be what draws it there."""
    engine = choice.RANKED[-1] if config.avatar.engine == choice.AUTO else config.avatar.engine
    return config.model_copy(update={"avatar": config.avatar.model_copy(update={"engine": engine, "quality": "high"})})


def mouth_of(config: Config) -> flash.Mouth:
    """How this avatar's mouth looks as it opens."""
    import cv2

    from avatar.core import facs
    from avatar.core.types import FaceState, Ns, freeze
    from avatar.parts import find_avatar, make_engine
    from avatar.testing.browser import MOUTH

    cv2.setNumThreads(1)
    engine = make_engine(config.avatar.engine, find_avatar(config.avatar.name, config=config), config.avatar.size)
    rows = []
    for jaw in np.linspace(0, 1, 11):
        picture = engine.render(FaceState(Ns(0), freeze(facs.arkit_vector({"jawOpen": float(jaw)}))))
        rows.append(flash.fields(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), MOUTH))
    return flash.Mouth(np.array(rows))


# --- file ------------------------------------------------------------------------------------------------------------


def _file(job: Job, network: Network) -> dict[str, Any]:
    from avatar.render import Input, render

    script = flash.Script.make(job.seconds)
    with tempfile.TemporaryDirectory(prefix="sync-") as folder:
        states = script.write(Path(folder), job.config.avatar.fps)
        clip = Path(folder) / "flash.mp4"
        render(job.config, Input(states=states), clip)
        return flash.figures(recorded(clip, job.mouth))


def recorded(clip: Path, mouth: flash.Mouth) -> flash.Seen:
    """The events in a video file, at the times at which a player shows and plays them."""
    import av

    from avatar.testing.browser import MOUTH

    with av.open(str(clip)) as container:
        pictures = [(f.time, flash.fields(f.to_ndarray(format="gray"), MOUTH)) for f in container.decode(video=0)]
    with av.open(str(clip)) as container:
        pieces = [(f.to_ndarray().reshape(-1), f.sample_rate, f.time or 0.0) for f in container.decode(audio=0)]
    times = np.array([float(t or 0.0) for t, _ in pictures])
    opened, _ = flash.openings(times, mouth.jaw(np.array([light for _, light in pictures])))
    return flash.Seen(opened, flash.clicks_in(pieces), {})


# --- webrtc ----------------------------------------------------------------------------------------------------------


def _webrtc(job: Job, network: Network) -> dict[str, Any]:
    with job.engine() as address, Relay() as relay:
        by_report, by_arrival = asyncio.run(_watch(address, relay, network, job))
        result = flash.figures(by_report)
        arrival = flash.figures(by_arrival)
        result["arrival"] = {key: arrival[key] for key in ("skew_ms", "drift_ms_per_hour", "lost")}
        if network != Network():
            result["datagrams"] = dict(relay.counts)
    return result


async def _watch(address: str, relay: Relay, network: Network, job: Job) -> tuple[flash.Seen, flash.Seen]:
    from avatar.testing.viewer import Viewer

    async with Viewer(address, relay) as viewer:
        if network != Network():
            relay.impair(Impaired(network.loss, network.jitter))
        await asyncio.sleep(2.0)
        viewer.forget()
        await asyncio.sleep(job.seconds)
        return viewer.seen(job.mouth)


# --- browser ---------------------------------------------------------------------------------------------------------


def _browser(job: Job, network: Network) -> dict[str, Any]:
    from avatar.testing.browser import Browser

    with Browser() as browser, job.engine() as address, Relay() as relay:

        def impair() -> None:
            if network != Network():
                relay.impair(Impaired(network.loss, network.jitter))

        seen = browser.record_events(
            address,
            job.seconds,
            settle=SETTLE,
            prepare=lambda page: through(page, relay),
            on_live=impair,
        )
        opened, _ = flash.openings(seen.shown / 1e3, job.mouth.jaw(seen.lights))
        clicks = flash.clicks(seen.heard / 1e3, seen.peaks)
        clicks = clicks[seen.sure[np.searchsorted(seen.heard / 1e3, clicks)]]
        result = flash.figures(flash.Seen(opened, clicks, _receiver(seen.more)))
        if network != Network():
            result["datagrams"] = dict(relay.counts)
        return result


def through(page: Page, relay: Relay) -> None:
    """Let the page reach the engine's media by the relay alone."""
    from playwright.sync_api import Error

    def route(route: Any) -> None:
        offer = route.request.post_data_json
        with contextlib.suppress(Error):  # the page has been closed meanwhile
            reply = route.fetch(post_data={**offer, "sdp": relay.offer(offer["sdp"])})
            answer = reply.json()
            route.fulfill(response=reply, json={**answer, "sdp": relay.answer(answer["sdp"])})

    page.route("**/api/offer", route)


def _receiver(more: dict[str, Any]) -> dict[str, Any]:
    """What Chromium says about itself, medians; ``by_statistics_ms`` is the skew by its own estimates, which leave out
    the sound's output device and the picture's way to the screen."""
    rows = np.array([row[1:] for row in more.pop("buffers") if None not in row], float).reshape(-1, 4)
    middle = np.median(rows, axis=0) if len(rows) else np.full(4, np.nan)
    names = ("audio_buffer_ms", "video_buffer_ms", "playout_ms", "by_statistics_ms")
    return {**more, **{name: round(float(value), 1) for name, value in zip(names, middle, strict=True)}}


# --- virtual camera and microphone -----------------------------------------------------------------------------------


def _vcam(job: Job, network: Network) -> dict[str, Any]:
    from avatar.testing.pulse import PulseDaemon

    with tempfile.TemporaryDirectory(prefix="sync-") as folder, PulseDaemon(job.ppm):
        notes = Path(folder) / "seen.npz"
        command = ("avatar.testing.made_up", "--camera", str(notes))
        sinks = (
            f"sync.budget_ms={load('webcam.toml').config.sync.budget_ms}",
            'output.sinks=["virtual_camera","virtual_microphone"]',
            f"output.microphone_device={dumps(PulseDaemon.OUTPUT)}",
        )
        with job.engine(*sinks, command=command), Listener(PulseDaemon.MONITOR) as listener:
            time.sleep(SETTLE)
            begun = time.monotonic()
            time.sleep(job.seconds)
        with np.load(notes) as seen:
            times, lights = seen["times"], seen["lights"]
        used = times > begun
        opened, _ = flash.openings(times[used], job.mouth.jaw(lights[used]))
        heard, peaks = listener.heard()
        clicks = flash.clicks(heard[heard > begun], peaks[heard > begun])
        return flash.figures(flash.Seen(opened, clicks, {}))
