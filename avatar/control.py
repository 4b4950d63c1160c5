"""What the page may ask of the running engine (:class:`avatar.streams.server.Control`)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar import plugins
from avatar.core.types import EMOTIONS, EmotionLabel
from avatar.engines.choice import AUTO, Choice, tier_of
from avatar.engines.layers import KEEP
from avatar.errors import UsageError
from avatar.metrics import percentiles, resident_mb
from avatar.own_head import OwnHead
from avatar.spoken import VOICE
from avatar.sync import plane
from avatar.sync.feeling import MODES, Degrees, EmotionChoice, degrees_of, emotion_of

if TYPE_CHECKING:
    from avatar.analysis.dialogue import Act
    from avatar.assembly import Pipeline
    from avatar.config import AvatarTable
    from avatar.engines.choice import Quality
    from avatar.portrait.bundle import AvatarBundle
    from avatar.streams.base import Sink

SOURCES = ("demo", "page", "silence")
BACKGROUNDS = ("keep", "blur", "green")
"""What a page may put behind the person, besides a colour and what the engine was started with: it names no files."""


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"{name}: a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def _feeling(degrees: NDArray[np.floating]) -> dict[str, Any]:
    """What the page shows of some degrees (6,): the strongest emotion by name, and their point of the plane."""
    emotion = emotion_of(degrees)
    angle, radius = plane.place(degrees)
    return {
        "label": emotion.label,
        "intensity": round(emotion.intensity, 4),
        "angle": round(angle, 1),
        "radius": round(radius, 4),
    }


def _tasks() -> int:
    """Of this thread's event loop; none where none runs."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


class Control:
    """Answers the page's requests. Bad ones raise UsageError with one line."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._recorder: Sink | None = None
        self._recording: Path | None = None
        self._building = asyncio.Lock()
        self._whole: Choice | None = None
        """What drew before its head alone was told to."""
        self._source = pipeline.config.input.audio
        self.voice = pipeline.config.input.voice or VOICE
        """Of espeak-ng; speaks texts that name none."""
        self.own_head = OwnHead(pipeline)

    @property
    def source(self) -> str:
        """Who speaks, by the names of :meth:`state`."""
        return self._source

    # --- looking -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that the page shows and can change."""
        pipeline, session = self._pipeline, self._pipeline.session
        style = session.synchronizer.style
        usable = [entry for entry in pipeline.library.entries() if not entry.error]
        avatars = [{"name": a.name, "title": a.title, "builtin": a.builtin} for a in usable]
        return {
            "avatars": avatars,
            "avatar": pipeline.bundle.name,
            "engines": plugins.names("engines"),
            "engine": pipeline.engine.name,
            "quality": str(pipeline.choice),
            "background": pipeline.engine.background,
            "backgrounds": list(dict.fromkeys((*BACKGROUNDS, pipeline.config.avatar.background))),
            "sources": list(dict.fromkeys((*SOURCES, pipeline.config.input.audio))),
            "source": self._source,
            "camera": session.video_name != "none",
            "emotion": {"mode": style.emotion.mode, **_feeling(np.array(style.emotion.fixed))},
            "strength": style.emotion.strength,
            "mood": _feeling(np.array(style.emotion.mood)),
            "modes": self._modes(),
            "emotions": list(EMOTIONS),
            "plane": dict(plane.ANGLES),
            "head": style.head_strength,
            "gaze": style.gaze_strength,
            "jaw": style.jaw,
            "lips": style.lips,
            "own_head": self.own_head.state(),
            "recording": self._recording.name if self._recording else None,
            "faults": [f for f in self._faults() if f],
            "version": version("vultus"),
        }

    def _faults(self) -> list[str]:
        pipeline, session = self._pipeline, self._pipeline.session
        sinks = [outlet.fault for outlet in session.outlets()]
        return [session.audio_fault, session.video_fault, pipeline.calibration_fault, pipeline.store.trouble, *sinks]

    def meters(self) -> dict[str, Any]:
        """What the engine measures about itself, over the last minute."""
        session = self._pipeline.session
        meters, outlets = session.meters, session.outlets()
        hub, last = self._pipeline.hub, session.resyncs.last
        reasons = {k.partition(".")[2]: n for k, n in meters.counters.items() if k.startswith("resync.")}
        return {
            "fps": round(meters.rate("frames"), 2),
            "frames": meters.counters["frames"],
            "engine_ms": percentiles(meters.series("engine_ms")),
            "latency_ms": percentiles(meters.series("latency_ms")),
            "sound_late_ms": percentiles(meters.series("sound_late_ms")),
            "budget_ms": session.timing.budget // 1_000_000,
            "cpu_cores": meters.cpu_cores(),
            "rss_mb": round(resident_mb(), 1),
            "tasks": _tasks(),
            "shed": meters.counters["shed"],
            "dropped": {
                "frames": sum(outlet.frames.dropped + outlet.frames.overruns for outlet in outlets),
                "states": sum(getattr(outlet.sink, "dropped", 0) for outlet in outlets),
                "sound": sum(outlet.sound.overruns for outlet in outlets),
                "sound_in_s": round((session.sound.late + session.sound.overruns) / session.timing.rate, 3),
            },
            "stretch_ppm": round(1e6 * session.sound.stretch),
            "resync": meters.counters["resync"],
            "resyncs": reasons,
            "last_resync": None if last is None else {"reason": last.reason, "text": str(last), **last.ms()},
            "viewers": hub.viewers if hub is not None else 0,
            "encodes": hub.sink.pictures.encodes if hub is not None else 0,
            "felt": _feeling(session.synchronizer.felt),
        }

    def thumb(self, name: str) -> bytes:
        """A small JPEG of an avatar."""
        pixels = self._pipeline.library.thumb(name)
        return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])

    def recordings_dir(self) -> Path:
        from avatar.recordings import recordings_folder

        return recordings_folder()

    # --- changing ----------------------------------------------------------------------------------------------

    async def update(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Apply what a page sends; returns the new state. Nothing is changed where one value is unusable, unless an
        earlier one in the same request already was."""
        known = {
            *("avatar", "background", "engine", "source", "camera", "emotion", "mood", "strength"),
            *("head", "gaze", "jaw", "lips", "peer", "remote"),
        }
        if unknown := set(changes) - known:
            raise UsageError(f"unknown setting {sorted(unknown)[0]}; known: {', '.join(sorted(known))}")
        session, peer = self._pipeline.session, changes.get("peer")
        style = session.synchronizer.style
        if "head" in changes:
            style = replace(style, head_strength=_number(changes["head"], "head", 0, 2))
        if "gaze" in changes:
            style = replace(style, gaze_strength=_number(changes["gaze"], "gaze", 0, 2))
        if "jaw" in changes:
            style = replace(style, jaw=_number(changes["jaw"], "jaw", 0, 2))
        if "lips" in changes:
            style = replace(style, lips=_number(changes["lips"], "lips", 0, 2))
        style = replace(style, emotion=self._emotion(style.emotion, changes))
        session.synchronizer.style = style
        # Nobody is read whom nobody has asked to read.
        self._pipeline.listener.hears_emotion = style.emotion.mode == "auto"
        known_emotion = style.emotion.known
        self._pipeline.listener.feel(known_emotion.label, known_emotion.intensity)
        if "avatar" in changes or "engine" in changes:
            await self._rebuild(changes.get("avatar"), changes.get("engine"))
        if "background" in changes:
            await self._use_background(changes["background"])
        if "source" in changes:
            await self._use_source(changes["source"], peer)
        if "camera" in changes:
            await self._use_camera(bool(changes["camera"]), peer)
        return self.state()

    def _modes(self) -> list[str]:
        """Where an emotion may come from here."""
        from avatar.parts import hears_emotion

        return [mode for mode in MODES if mode != "auto" or hears_emotion()]

    def _emotion(self, choice: EmotionChoice, changes: dict[str, Any]) -> EmotionChoice:
        """The choice after a page's changes. Somebody at another machine whose voice or face is taken has not agreed to
        be read: emotions are off until they are chosen again."""
        begins = changes.get("source") == "page" or changes.get("camera") is True
        if changes.get("remote") is True and begins and choice.mode in ("auto", "mirror"):
            choice = replace(choice, mode="off")
        if "strength" in changes:
            choice = replace(choice, strength=_number(changes["strength"], "strength", 0, 1))
        if "mood" in changes:
            choice = replace(choice, mood=self._degrees(changes["mood"], "mood"))
        if "emotion" not in changes:
            return choice
        value = changes["emotion"]
        if isinstance(value, dict) and "mode" in value and (value["mode"] not in self._modes() or len(value) > 1):
            raise UsageError(f"emotion mode: one of {', '.join(self._modes())}, and nothing else with it")
        if isinstance(value, dict) and "mode" in value:
            return replace(choice, mode=value["mode"])
        return replace(choice, mode="fixed", fixed=self._degrees(value, "emotion"))

    @staticmethod
    def _degrees(value: object, name: str) -> Degrees:
        """Of ``{"label", "intensity"}`` or ``{"angle", "radius"}``."""
        if isinstance(value, dict) and set(value) == {"angle", "radius"}:
            angle = _number(value["angle"], f"{name} angle", -360, 360)
            return tuple(map(float, plane.at(angle, _number(value["radius"], f"{name} radius", 0, 1))))
        if not isinstance(value, dict) or value.get("label") not in EMOTIONS or set(value) - {"label", "intensity"}:
            raise UsageError(
                f"{name}: a label of {', '.join(EMOTIONS)} and an intensity from 0 to 1, or an angle and a radius"
            )
        return degrees_of(value["label"], _number(value.get("intensity", 0.6), f"{name} intensity", 0, 1))

    async def draw_at(self, quality: Quality) -> None:
        """Draw with the engine of this quality (high, medium, low) from now on."""
        # auto ranks engines, so that a lower quality may be another engine; a named one is only drawn smaller.
        engine = AUTO if self._pipeline.config.avatar.engine == AUTO else None
        await self._rebuild(None, engine, again=True, quality=quality)

    async def _rebuild(
        self, avatar: str | None, engine: str | None, again: bool = False, quality: Quality | None = None
    ) -> None:
        """Make the new engine beside the old one, then swap: the picture never stops. ``again``: even where the names
        are the same, since the avatar behind its name, or the quality, is another."""
        from avatar.parts import choose_engine

        pipeline = self._pipeline
        same = avatar in (None, pipeline.bundle.name) and engine in (None, pipeline.engine.name)
        if same and not again:
            return
        async with self._building:
            bundle = pipeline.bundle
            if avatar is not None:
                bundle = await asyncio.to_thread(pipeline.library.load, avatar)
            # Not measured again: what the engine does beside it now is no property of the machine.
            known: Quality = "low" if pipeline.choice.tier.quality == "low" else "high"
            asked = pipeline.config.avatar.model_copy(
                update={
                    "engine": engine or pipeline.engine.name,
                    "quality": quality or known,
                    "background": pipeline.background,
                }
            )
            made = self._at_hand(bundle, asked)
            if made is None:
                made = await asyncio.to_thread(choose_engine, asked, bundle)
            pipeline.show(bundle, made)

    def _at_hand(self, bundle: AvatarBundle, asked: AvatarTable) -> Choice | None:
        """What is asked for, where nothing has to be made: the head under the generator that draws now, or back."""
        from avatar.engines.generator import GeneratorEngine

        pipeline, whole = self._pipeline, self._whole
        now, tier = pipeline.choice, tier_of(asked.quality, asked.engine, asked.size)
        self._whole = None
        if bundle is not pipeline.bundle or pipeline.background != KEEP:
            return None
        if isinstance(now.engine, GeneratorEngine) and (tier.engine, tier.drawn) == (now.engine.head.name, asked.size):
            self._whole = now
            return Choice(now.engine.head, tier)
        if whole is not None and isinstance(whole.engine, GeneratorEngine) and whole.engine.head is now.engine:
            return whole if (whole.tier.engine, whole.tier.drawn) == (tier.engine, tier.drawn) else None
        return None

    async def _use_background(self, name: object) -> None:
        pipeline = self._pipeline
        known = self.state()["backgrounds"]
        if name not in known and not (isinstance(name, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", name)):
            raise UsageError(f"background {name!r}: one of {', '.join(known)}, or a colour as #20304a")
        async with self._building:
            await pipeline.session.on_engine_lane(pipeline.engine.set_background, name)
            pipeline.background = str(name)

    async def _use_source(self, name: object, peer: str | None) -> None:
        pipeline = self._pipeline
        if name not in self.state()["sources"]:
            raise UsageError(f"no source named {name!r}; there are: {', '.join(self.state()['sources'])}")
        self._source = str(name)
        if name != "page" or peer is None:
            await pipeline.session.use_audio(pipeline.audio_source(self._source))
            return
        assert pipeline.hub is not None
        pipeline.hub.choose(peer, audio=True)
        await pipeline.session.use_audio(pipeline.hub.audio_source(peer), then=self._after_page)

    async def _after_page(self) -> None:
        """The page whose microphone was heard has left: back to what the engine was started with."""
        usual = self._pipeline.config.input.audio
        await self._use_source(usual if usual != "page" else "silence", None)

    async def _use_camera(self, on: bool, peer: str | None) -> None:
        pipeline = self._pipeline
        if not on:
            await pipeline.session.use_video(None)
            return
        if pipeline.config.input.video not in ("page", "none"):
            await pipeline.session.use_video(pipeline.video_source(pipeline.config.input.video))
            return
        assert pipeline.hub is not None
        pipeline.hub.choose(peer, video=True)
        await pipeline.session.use_video(pipeline.hub.video_source(peer))

    async def say(
        self, text: str, act: str | None = None, voice: str | None = None, emotion: object = None
    ) -> dict[str, Any]:
        """Speak ``text`` in place of what is heard now, then go back to that.

        :param act: a dialogue act; None = guessed. :param voice: of espeak-ng; None = the usual one.
        :param emotion: ``{"label", "intensity"}`` of voice and face; None = as the face is set, if to an emotion.
        """
        from avatar.spoken import spoken
        from avatar.streams.sources.speech import SpeechSource

        if not isinstance(text, str) or not text.strip() or len(text) > 2000:
            raise UsageError("say: a text of 1 to 2000 characters")
        pipeline = self._pipeline
        synchronizer = pipeline.session.synchronizer
        before = synchronizer.style
        face = before.emotion if emotion is None else EmotionChoice("fixed", self._degrees(emotion, "emotion"))
        felt = emotion_of(np.array(face.fixed)) if face.mode == "fixed" else None
        heard: tuple[EmotionLabel, float] = ("neutral", 0.0) if felt is None else (felt.label, felt.intensity)
        speech = await asyncio.to_thread(spoken, text, cast("Act | None", act), voice or self.voice, heard)
        page = pipeline.hub.input.chosen("audio") if pipeline.hub is not None and self._source == "page" else None
        if emotion is not None:
            synchronizer.style = meant = replace(synchronizer.style, emotion=face)

        async def back() -> None:
            if emotion is not None and synchronizer.style.emotion is meant.emotion:  # nobody has chosen another since
                synchronizer.style = replace(synchronizer.style, emotion=before.emotion)
            gone = page is not None and pipeline.hub is not None and page not in pipeline.hub
            await (self._after_page() if gone else self._use_source(self._source, page))

        await pipeline.session.use_audio(SpeechSource(speech), then=back)
        return {"seconds": round(len(speech.samples) / speech.rate, 2)}

    async def create_avatar(
        self, photo: bytes, name: str, title: str, consent: str, smile: bytes | None = None
    ) -> dict[str, Any]:
        """Make an avatar of an uploaded photo, and of a second one with a smile, and show it; the new state with the
        photo's ``report``."""
        from avatar.parts import create_avatar
        from avatar.portrait.consent import check_consent

        agreed = check_consent(consent)
        made = await asyncio.to_thread(
            create_avatar, self._pipeline.library, photo, name, title, agreed, smile, apart=True
        )
        await self._rebuild(name, None, again=True)
        return {**self.state(), "report": [asdict(finding) for finding in made.report]}

    async def record(self, on: bool) -> dict[str, Any]:
        """Start or finish a recording of what the viewers get."""
        from avatar.recordings import new_recording

        pipeline = self._pipeline
        if on and self._recorder is None:
            self._recording = new_recording()
            self._recorder = pipeline.recorder(self._recording)
            pipeline.attach(self._recorder)
            return {"recording": self._recording.name, "url": None}
        done = self._recording
        if not on and self._recorder is not None and done is not None:
            await pipeline.session.detach(self._recorder)
            self._recorder = self._recording = None
            return {"recording": None, "url": f"/api/recordings/{done.name}"}
        return {"recording": self._recording.name if self._recording else None, "url": None}
