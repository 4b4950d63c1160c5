"""Cues in, face states out: one object that knows what the face is doing at any moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from avatar.core import facs
from avatar.core.geometry import IDENTITY, from_euler, multiply, scale, slerp
from avatar.core.types import (
    F32,
    MILLISECOND,
    BlinkCue,
    Confidence,
    Cue,
    Emotion,
    EmotionCue,
    ExpressionCue,
    FaceState,
    Gaze,
    GazeCue,
    GestureCue,
    LipCue,
    Ns,
    Pose,
    PoseCue,
    ProsodyCue,
    freeze,
)  # fmt: skip
from avatar.sync.articulation import articulate
from avatar.sync.blend import OWNERS, Origin, Part, add_emotion, layer, layer_rotation, leave_to_owners
from avatar.sync.feeling import EmotionChoice, Feeling
from avatar.sync.program import Override, ProgramFace
from avatar.sync.timeline import Timeline

_N = len(facs.ARKIT)
Mouth = Literal["auto", "voice", "camera", "both"]


def _ms(t: float) -> Ns:
    return Ns(round(t * MILLISECOND))


@dataclass(frozen=True, slots=True)
class Style:
    """What the user has chosen; it changes while the face is live."""

    emotion: EmotionChoice = field(default_factory=EmotionChoice)
    """Where the emotion comes from; see :mod:`avatar.sync.feeling`."""
    head_strength: float = 1.0
    """0 = still, 1 = natural, up to 2."""
    gaze_strength: float = 1.0
    jaw: float = 1.0
    """0 = mumbles, 1 = usual, 2 = enunciates; so is ``lips``. See :mod:`avatar.sync.articulation`."""
    lips: float = 1.0
    mouth: Mouth = "auto"
    """Who moves the mouth where a camera watches: the voice while it speaks and else the camera, one of them only, or
    both by how sure each is."""


class Synchronizer:
    """Collects cues of every origin and answers, for a moment, what the face is (:meth:`sample`).

    Not a stage: cues come at their own rates, states are asked for at another. ``sample`` must be called with times
    that do not go back (emotion eases in and out between calls); everything else depends on the cues alone, so the
    same cues and times give the same states.
    """

    SPEECH_RISE = 0.06
    SPEECH_FALL = 0.8
    """Seconds for two thirds of the way back to the emotion's own mouth: in a pause between two words it does not come
    and go."""

    def __init__(self, style: Style | None = None, seed: int | None = 0) -> None:
        """``seed``: any integer; how a held emotion varies goes with it. None = it does not vary."""
        self.style = style or Style()
        stale_voice = dict(hold=_ms(60), release=_ms(180))
        stale_camera = dict(hold=_ms(200), release=_ms(600))
        stale_program = dict(hold=_ms(300), release=_ms(500))
        stale_script = dict(hold=_ms(60), release=_ms(300))
        # Lips whose sound has ended without a word (a text spoken to its end) shut as fast as those that hear silence.
        self._lips: dict[Origin, Timeline[LipCue]] = {"voice": Timeline(hold=_ms(40), release=_ms(60))}
        self._faces: dict[Origin, Timeline[ExpressionCue]] = {
            "program": Timeline(**stale_program),
            "camera": Timeline(**stale_camera),
            "script": Timeline(**stale_script),
            "voice": Timeline(**stale_voice),
        }
        self._heads: dict[Origin, Timeline[PoseCue]] = {
            "program": Timeline(**stale_program),
            "camera": Timeline(**stale_camera),
            "script": Timeline(**stale_script),
            "voice": Timeline(hold=_ms(200), release=_ms(1500)),
        }
        self._gazes: dict[Origin, Timeline[GazeCue]] = {
            "program": Timeline(**stale_program),
            "camera": Timeline(**stale_camera),
            "script": Timeline(**stale_script),
            "idle": Timeline(hold=_ms(500), release=_ms(500)),
        }
        self._lids: dict[Origin, Timeline[BlinkCue]] = {
            "camera": Timeline(**stale_camera),
            "idle": Timeline(hold=_ms(100), release=_ms(100)),
        }
        self._feeling = Feeling(seed)
        self.program = ProgramFace()
        """What programs tell, part by part; beats everything else."""
        self._gestures: dict[Origin, list[GestureCue]] = {"program": [], "script": []}
        self.reset()

    def reset(self) -> None:
        """Forget all cues; the face eases back to rest."""
        for group in (self._lips, self._faces, self._heads, self._gazes, self._lids):
            for timeline in group.values():
                timeline.clear()
        for cues in self._gestures.values():
            cues.clear()
        self.program.reset()
        self._feeling.reset()
        self._speaking = 0.0
        self._talking = 0.0
        self._last: Ns | None = None

    def forget(self, origin: Origin) -> None:
        """Drop what an input has said (it was switched off); its parts go to the next owner."""
        for group in (self._lips, self._faces, self._heads, self._gazes, self._lids):
            if origin in group:
                group[origin].clear()
        if origin in self._gestures:
            self._gestures[origin].clear()

    def push(self, cue: Cue, origin: Origin) -> None:
        """Add a cue. Prosody has no part of its own in the face and is ignored. Raises KeyError where that kind of cue
        cannot come from that origin."""
        match cue:
            case LipCue():
                self._lips[origin].push(cue)
            case ExpressionCue():
                self._faces[origin].push(cue)
            case PoseCue():
                self._heads[origin].push(cue)
            case GazeCue():
                self._gazes[origin].push(cue)
            case BlinkCue():
                self._lids[origin].push(cue)
            case EmotionCue():
                self._feeling.push(cue)
            case GestureCue():
                self._gestures[origin].append(cue)
            case ProsodyCue():
                pass

    def speaking(self, t: Ns) -> bool:
        """Whether somebody speaks at ``t``, as far as the lip cues go."""
        found = self._lips["voice"].at(t)
        return found is not None and found[0].voiced

    # --- sampling --------------------------------------------------------------------------------------------

    def sample(self, t: Ns) -> FaceState:
        """The face at ``t``."""
        dt = 0.0 if self._last is None else max(0, t - self._last) / 1e9
        self._last = t
        mouth, visemes, voiced, lips, sure = self._sample_lips(t)
        self._speaking += (float(voiced) - self._speaking) * (1 - np.exp(-dt / self.SPEECH_RISE))
        face = self._sample_face(t, mouth, lips, sure)
        self._talking = max(self._speaking, self._talking * float(np.exp(-dt / self.SPEECH_FALL)))
        felt, emotion = self._sample_emotion(t)
        face = add_emotion(face, felt, self._talking)
        head, head_confidence = self._sample_head(t)
        gaze, gaze_confidence = self._sample_gaze(t)
        left, right = self._sample_lids(t)
        for name, value in (("eyeBlinkLeft", left), ("eyeBlinkRight", right)):
            face[facs.INDEX[name]] = max(face[facs.INDEX[name]], value)
        told = self.program.sample(t)
        if told is not None:
            face += told.arkit_presence * (told.arkit - face)
            head, gaze = _turned(head, told), _looking(gaze, told)
        facs.set_eye_look(face, gaze.yaw, gaze.pitch)
        expression = max((f[3] for f in (line.at(t) for line in self._faces.values()) if f), default=0.0)
        return FaceState(
            pts=t,
            arkit=freeze(face),
            head=head,
            gaze=gaze,
            visemes=freeze(visemes),
            emotion=emotion,
            voiced=voiced,
            confidence=Confidence(sure, expression, head_confidence, gaze_confidence),
            gesture=(told.gesture if told is not None else None) or self._sample_gesture(t),
        )

    def _sample_gesture(self, t: Ns) -> GestureCue | None:
        """What the body does at ``t``: the newest that has begun, a program's first."""
        found = None
        for origin in ("script", "program"):
            left = self._gestures[origin] = [cue for cue in self._gestures[origin] if cue.end > t]
            begun = [cue for cue in left if cue.pts <= t]
            found = max(begun, key=lambda cue: cue.pts) if begun else found
        return found

    def _sample_lips(self, t: Ns) -> tuple[F32, F32, bool, float, float]:
        """Mouth, visemes, voiced, presence, confidence. An unsure mouth opens as far as a sure one: only how fresh its
        cues are (presence) weighs, or a noisy voice would mumble."""
        found = self._lips["voice"].at(t)
        if found is None:
            visemes = np.zeros(len(facs.VISEMES), np.float32)
            visemes[facs.VISEME_INDEX["sil"]] = 1.0
            return np.zeros(_N, np.float32), visemes, False, 0.0, 0.0
        a, b, f, presence = found
        mouth = (1 - f) * a.mouth + f * b.mouth
        if self.style.jaw != 1.0 or self.style.lips != 1.0:
            mouth = articulate(mouth, self.style.jaw, self.style.lips)
        visemes = (1 - f) * a.visemes + f * b.visemes
        voiced = a.voiced and presence > 0.5
        return mouth.astype(np.float32), visemes.astype(np.float32), voiced, presence, presence * a.confidence

    def _sample_face(self, t: Ns, lips: F32, lips_presence: float, sure: float) -> F32:
        vectors: dict[Origin, tuple[F32, float]] = {}
        for origin, timeline in self._faces.items():
            if (found := timeline.at(t)) is not None:
                a, b, f, presence = found
                vectors[origin] = ((1 - f) * a.arkit + f * b.arkit, presence * a.confidence)

        def layered(part: Part, own: dict[Origin, tuple[F32, float]]) -> F32:
            return layer([own[o] for o in OWNERS[part] if o in own], _N)

        # While nobody speaks and a camera watches, the camera has the mouth.
        spoken = lips_presence
        if "camera" in vectors and self.style.mouth != "voice":
            seen = vectors["camera"][1]
            spoken *= self._speaking
            if self.style.mouth == "camera":
                spoken *= 1.0 - seen
            elif self.style.mouth == "both":
                spoken *= sure / max(1e-6, sure + seen)
        mouth = layered("mouth", {**vectors, "voice": (lips, spoken)})
        face = layered("upper", vectors)
        face[facs.MOUTH_INDICES] = mouth[facs.MOUTH_INDICES]
        return face

    def _sample_emotion(self, t: Ns) -> tuple[F32, Emotion]:
        mode = self.style.emotion.mode
        camera, program = (self._faces[origin].at(t) for origin in ("camera", "program"))
        watched = None
        if camera is not None:
            a, b, f, presence = camera
            watched = (1 - f) * a.arkit + f * b.arkit, presence * a.confidence
        felt, emotion = self._feeling.step(t, self.style.emotion, watched)
        seen = 0.0 if watched is None else watched[1]
        told = 0.0 if program is None else program[3] * program[0].confidence
        return leave_to_owners(felt, mode, seen, told, self._talking), emotion

    @property
    def felt(self) -> np.ndarray:
        """Degrees (6,) of the emotions that the face shows at this moment."""
        return self._feeling.shown

    def _sample_head(self, t: Ns) -> tuple[Pose, float]:
        rotations, translation, confidence = [], (0.0, 0.0, 0.0), 0.0
        for origin in OWNERS["head"]:
            if (found := self._heads[origin].at(t)) is None:
                continue
            a, b, f, presence = found
            weight = presence * a.confidence
            rotation = slerp(a.pose.rotation, b.pose.rotation, f)
            rotations.append((scale(rotation, self.style.head_strength), weight))
            if not confidence:
                x, y, z = (p + f * (q - p) for p, q in zip(a.pose.translation, b.pose.translation, strict=True))
                translation = (weight * x, weight * y, weight * z)
            confidence = max(confidence, weight)
        return Pose(layer_rotation(rotations) if rotations else IDENTITY, translation), confidence

    def _sample_gaze(self, t: Ns) -> tuple[Gaze, float]:
        values, confidence = [], 0.0
        for origin in OWNERS["gaze"]:
            if (found := self._gazes[origin].at(t)) is None:
                continue
            a, b, f, presence = found
            weight = presence * a.confidence
            mixed = np.array([(1 - f) * a.gaze.yaw + f * b.gaze.yaw, (1 - f) * a.gaze.pitch + f * b.gaze.pitch])
            values.append((mixed, weight))
            confidence = max(confidence, weight)
        yaw, pitch = layer(values, 2) * self.style.gaze_strength
        return Gaze(float(yaw), float(pitch)), confidence

    def _sample_lids(self, t: Ns) -> tuple[float, float]:
        values = []
        for origin in OWNERS["lids"]:
            timeline = self._lids.get(origin)
            if timeline is not None and (found := timeline.at(t)) is not None:
                a, b, f, presence = found
                mixed = np.array([(1 - f) * a.left + f * b.left, (1 - f) * a.right + f * b.right])
                values.append((mixed, presence * a.confidence))
        left, right = layer(values, 2)
        return float(left), float(right)


def _turned(head: Pose, told: Override) -> Pose:
    rotation = slerp(head.rotation, from_euler(*told.head), told.head_presence)
    if any(told.nudge):
        rotation = multiply(rotation, from_euler(*told.nudge))
    return Pose(rotation, head.translation)


def _looking(gaze: Gaze, told: Override) -> Gaze:
    yaw, pitch = (math.radians(angle) for angle in told.gaze)
    left = told.gaze_presence
    return Gaze(gaze.yaw + left * (yaw - gaze.yaw), gaze.pitch + left * (pitch - gaze.pitch))
