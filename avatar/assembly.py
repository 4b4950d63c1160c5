"""THE wiring: a configuration in, a running engine out. It reads from top to bottom as the diagram in the README.

This module, with :mod:`avatar.parts` and :mod:`avatar.ends` that it puts together, :mod:`avatar.control` and
:mod:`avatar.commands` are the only ones that know streams and models.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from avatar import calibrations, ends, head_export, memory, outputs, programs
from avatar.calibrations import Calibration, Calibrations
from avatar.config import Config
from avatar.core.clock import SessionClock, suspended
from avatar.core.types import U8, FaceState
from avatar.engines import choice, layers
from avatar.engines.base import Engine
from avatar.errors import ConsentError
from avatar.labels import labelled, origin_of, seal, tags, while_agreed
from avatar.models import registry
from avatar.parts import (
    LANDMARKER,
    IdleMotion,
    choose_engine,
    find_avatar,
    library,
    make_listener,
    make_watcher,
    store_of,
    style,
    timing,
)
from avatar.pipeline.notice import ToneNotice
from avatar.pipeline.session import Session
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import FILE as CONSENT_FILE
from avatar.streams.base import Sink, Source, StreamFormat
from avatar.sync.synchronizer import Synchronizer
from avatar.trust import signed_label
from avatar.trust.keys import label_key
from avatar.trust.provenance import Provenance, new_session

if TYPE_CHECKING:
    from avatar.analysis.tracking import FaceTracker
    from avatar.streams.server import Server
    from avatar.streams.signaling import PeerHub

log = logging.getLogger(__name__)

CONSENT_EVERY = 0.25
"""Seconds between two looks at the consent of who is drawn live."""


class Pipeline:
    """A live engine made from a configuration: ``await Pipeline(config).run()``.

    Raises AvatarError with one line where something asked for cannot be had.
    """

    def __init__(self, config: Config, clock: SessionClock | None = None) -> None:
        self.config = config
        cv2.setNumThreads(1)  # a second thread per call costs more in hand-overs than it saves at this size
        self.clock = clock or SessionClock()
        self.began = outputs.time_of_day()

        # sound -> cues, camera -> cues
        self.listener = listener = make_listener(config, live=True)
        self.look_ahead = listener.latency
        self.watcher: FaceTracker | None = None
        watcher = self._make_watcher if config.input.video != "none" else None
        self.store = store_of(config)
        self.calibrations = Calibrations(self.store)
        self.calibration: Calibration | None = None
        self.use_calibration(*calibrations.find(self.calibrations, config.face.calibration))
        if config.input.video not in ("none", "page"):
            registry.path(LANDMARKER)  # missing: say so now, not at the first picture

        # cues -> face state -> picture
        self.library = library(config)
        self.library.entries()  # looked through once, before anybody waits for it
        self.bundle = find_avatar(config.avatar.name, config=config)
        self.choice = choose_engine(config.avatar, self.bundle, live=True)
        self.background = config.avatar.background
        self.session_number = new_session()
        self._origins: list[Provenance] = []
        if self.engine.background == layers.ALPHA:
            log.warning("no live output carries transparency: alpha is black there; use green and a chroma key")
        self.session = Session(
            clock=self.clock,
            timing=timing(config, listener.latency),
            listen=listener,
            idle=IdleMotion(config.face.seed),
            synchronizer=Synchronizer(style(config), config.face.seed),
            draw=self._labelled(),
            make_watch=watcher,
            suspended=suspended,
            notice=ToneNotice() if config.output.notice == "tone" else None,
        )

        # state and picture -> sinks; the page is one of them
        self.format = StreamFormat(config.avatar.size, config.avatar.fps, self.session.timing.rate)
        self.hub: PeerHub | None = None
        self.server: Server | None = None
        if config.server.enabled or "webrtc" in config.output.sinks:
            from avatar.control import Control
            from avatar.streams import access
            from avatar.streams.room import Room
            from avatar.streams.server import Server
            from avatar.streams.signaling import PeerHub
            from avatar.streams.sinks.states import StateFeed

            asked = config.server
            self.hub = PeerHub(self.clock, max_peers=asked.viewers, loopback=access.is_loopback(asked.host))
            key = label_key()
            self.hub.label = lambda prints: signed_label.signed(self.origin, prints, key)
            self.hub.label_key = {"alg": signed_label.ALGORITHM, "key": signed_label.public_key(key)}
            self.control = Control(self)
            if config.server.enabled:
                access.check(asked.host, asked.token)
                guard = access.Access(asked.token, asked.origins)
                self.hub.states = StateFeed()
                room = Room(self.hub.states, head_export.glb)
                self.server = Server(
                    self.control, self.hub, access=guard, ice=asked.ice, turn_secret=asked.turn_secret, room=room
                )
        self.sinks = [ends.sink(name, config, self.hub, self.began, self.recorder) for name in config.output.sinks]
        if self.server is not None and self.hub is not None and self.hub.states is not None:
            self.sinks.append(self.hub.states)

    @property
    def engine(self) -> Engine:
        """What draws now."""
        return self.choice.engine

    def _labelled(self) -> Callable[[FaceState], U8]:
        """What draws from now on; :attr:`origin` is what its pictures say of themselves."""
        self.origin = origin_of(self.bundle, self.engine.name, self.config.avatar, self.session_number)
        self._origins.append(self.origin)
        draw, bundle = labelled(self.engine, self.config.avatar, self.origin), self.bundle
        record = bundle.folder / CONSENT_FILE if bundle.folder is not None else None
        return while_agreed(draw, record, lambda: self.library.fault(bundle))

    def show(self, bundle: AvatarBundle, chosen: choice.Choice) -> None:
        """Draw this from the next picture on. Raises ConsentError."""
        self.bundle, self.choice = bundle, chosen
        self.session.draw = self._labelled()
        if self.hub is not None:
            self.hub.relabel()

    def _look(self) -> str:
        """Reads the store anew for everybody here; why the avatar may not be drawn any more."""
        self.store.refresh()
        self.library.entries()
        return self.library.fault(self.bundle)

    async def _guard_consent(self) -> None:
        """Ends the session where the consent has run out, or ended while nobody watched and nothing was drawn."""
        while True:
            await asyncio.sleep(CONSENT_EVERY)
            if fault := await asyncio.to_thread(self._look):
                raise ConsentError(f"avatar {self.bundle.name} is not drawn any more: {fault}; the session has ended")

    def recorder(self, path: Path) -> Sink:
        """Records what the viewers get, with metadata and, when it is complete, a manifest."""
        from avatar.streams.sinks.recorder import RecorderSink

        begun = len(self._origins) - 1

        def finish(done: Path) -> bool:
            before = tuple(dict.fromkeys(self._origins[begun:-1]))
            return seal(done, replace(self.origin, before=before))

        return RecorderSink(path, metadata=tags(self.origin), finish=finish)

    def _make_watcher(self) -> FaceTracker:
        known = self.calibration
        self.watcher = make_watcher(self.config, known.speaker.neutral if known is not None else None)
        return self.watcher

    def use_calibration(self, calibration: Calibration | None, fault: str = "") -> None:
        """Begin from this person's head, voice and resting face; None = from everybody's. ``fault``: why it is None."""
        if fault:
            log.warning("%s", fault)
        self.calibration, self.calibration_fault = calibration, fault
        speaker = calibration.speaker if calibration is not None else None
        self.listener.know(speaker)
        self.listener.use_head(calibration.head if calibration is not None else None)
        if self.watcher is not None:
            self.watcher.neutral = speaker.neutral if speaker is not None else None

    async def run(self, ready: Callable[[str], None] = lambda address: None) -> None:
        """Until cancelled. ``ready`` gets the page's address once it answers (empty without a page)."""
        with memory.settled():
            await self._run(ready)

    async def _run(self, ready: Callable[[str], None]) -> None:
        config = self.config
        self.store.watched = True
        session = asyncio.create_task(self._run_session(), name="session")
        guard = asyncio.create_task(self._guard_consent(), name="consent")
        try:
            address = ""
            if self.server is not None:
                port = await self.server.start(config.server.host, config.server.port)
                address = f"http://{config.server.host}:{port}"
            ready(address)
            await asyncio.wait({session, guard}, return_when=asyncio.FIRST_COMPLETED)
            if guard.done():
                session.cancel()  # the picture stops now, whatever closing the connections takes
                await guard
            await session
        finally:
            self.store.watched = False
            guard.cancel()
            if self.hub is not None:
                await self.control.own_head.close()
            if self.server is not None:
                await self.server.stop()
            session.cancel()
            await asyncio.gather(session, guard, return_exceptions=True)

    async def _run_session(self) -> None:
        session, config = self.session, self.config
        for sink in self.sinks:
            self.attach(sink)
        await session.use_audio(self.audio_source(config.input.audio))
        await session.use_video(self.video_source(config.input.video))
        await programs.beside(session.run(), config.input, self.clock, session.synchronizer.program.put)

    def attach(self, sink: Sink) -> None:
        """Send the session to one more sink."""
        self.session.attach(sink, lambda: sink.open(self.format))

    def audio_source(self, name: str) -> Source[Any] | None:
        """A source of sound by its name in ``input.audio``. Raises UsageError for an unknown one."""
        return ends.audio_source(name, self.config, self.hub)

    def video_source(self, name: str) -> Source[Any] | None:
        """A source of pictures by its name in ``input.video``. Raises UsageError for an unknown one."""
        return ends.video_source(name, self.config)
