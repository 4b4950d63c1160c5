"""Everything that a voice says about a face: lips, melody, head, brows, emotion; from chunks of any size and rate."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Literal

import numpy as np

from avatar.analysis.brows import BrowAccents
from avatar.analysis.emotion import WEIGHTS_FILE as EMOTION_FILE
from avatar.analysis.emotion import EmotionEstimator
from avatar.analysis.features import HALF, HOP, RATE, FrameStream, Hop, Resampler, clean
from avatar.analysis.head_hmm import HmmHead
from avatar.analysis.head_model import HEAD_FILE, HeadModel
from avatar.analysis.headpose import RuleHead
from avatar.analysis.manner import SpeakerProfile
from avatar.analysis.mouth import LIVE_MS, MouthShaper
from avatar.analysis.prosody import AccentDetector, Melody, PitchTracker, Prosody, yin
from avatar.analysis.speaker import Speaker
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate, loudness
from avatar.analysis.visemes import WEIGHTS_FILE, VisemeEstimator
from avatar.core.types import (
    F32,
    MILLISECOND,
    SECOND,
    AudioChunk,
    Cue,
    EmotionCue,
    EmotionLabel,
    ExpressionCue,
    LipCue,
    Ns,
    Pose,
    PoseCue,
    ProsodyCue,
    freeze,
)

HeadKind = Literal["hmm", "rules", "still"]

_FADE = 0.97
"""A hop: a head that begins to move in another way is there after a second."""
_GAP = 80 * MILLISECOND
"""A chunk that begins further than this from where the last one ended counts as a discontinuity."""


class _Timeline:
    """Session time of positions in the 16 kHz signal, by the time stamps of the chunks they came in."""

    def __init__(self) -> None:
        self._anchors: deque[tuple[float, int]] = deque(maxlen=64)

    def clear(self) -> None:
        self._anchors.clear()

    def add(self, position: float, pts: int) -> None:
        self._anchors.append((position, pts))

    def at(self, position: float) -> int:
        for origin, pts in reversed(self._anchors):  # noqa: B007 - the last one tried is the one that counts
            if origin <= position:
                break
        return pts + round((position - origin) * SECOND / RATE)


class VoiceAnalyzer:
    """Sound to cues: LipCue, ProsodyCue and PoseCue at 100 a second, ExpressionCue (brows) at 50, EmotionCue at 10.

    ``pts`` of a cue is the time of the sound it describes; the look-ahead is subtracted. Where a chunk brings its own
    lip cues, those are passed on in place of recognised ones.

    :param weights: folder of the shipped weights. Raises ModelFileError where they are missing.
    :param head: "hmm" = the head moves as was learnt from people, "rules" = by rules on accents and phrases; with both
        the brows follow the melody. "still" = neither moves.
    :param seed: any integer; the same seed and sound give the same cues.
    :param look_ahead_ms: of the future the lips may use at most this much, 0 and up; they come out that much later.
        ``LIVE_MS`` and ``CALM_MS`` of :mod:`avatar.analysis.visemes` are the two that the network is best at.
    :param emotion: whether the voice's emotion is looked for; without it there is no EmotionCue, and it costs nothing.
    :param profile: of a speaker who was heard before, for the emotion.
    """

    def __init__(
        self,
        weights: Path,
        head: HeadKind = "rules",
        seed: int = 0,
        look_ahead_ms: int = LIVE_MS,
        emotion: bool = False,
        profile: SpeakerProfile | None = None,
    ) -> None:
        self._vad = SileroVad(weights / VAD_FILE)
        self._visemes = VisemeEstimator(weights / WEIGHTS_FILE, look_ahead_ms)
        # A contact that is decided on with two hops to spare begins in time; live, 10 ms late.
        self._mouth = MouthShaper(ahead=2 if look_ahead_ms > LIVE_MS else min(1, self._visemes.ahead))
        self._brows = BrowAccents(seed) if head != "still" else None
        self._feeling = EmotionEstimator(weights / EMOTION_FILE, profile) if emotion else None
        self._listens = emotion
        self._gate = SpeechGate()
        self._pitch = PitchTracker()
        self._accents = AccentDetector()
        self._frames = FrameStream()
        self._resampler = Resampler(RATE)
        self._timeline = _Timeline()
        # Lips come out this many hops after the frame that completes them.
        self._lip_delay = self._visemes.ahead + self._mouth.ahead
        self._default_head: HeadModel | None = None
        self._head: HmmHead | RuleHead | None = None
        self._head_delay = 0
        if head == "hmm":
            # The lips' look-ahead is there anyway: what is known of the sound by then, the head uses as well.
            self._head_delay = self._lip_delay
            self._default_head = HeadModel.load(weights / HEAD_FILE)
            self._head = HmmHead(self._default_head, seed, ahead=self._head_delay)
        elif head == "rules":
            self._head = RuleHead(seed)
        self._usual_head = self._head, self._head_delay
        self._seed = seed
        self._emotion: tuple[str, float] = ("neutral", 0.0)
        self._angles: tuple[float, ...] = (0.0, 0.0, 0.0)
        self._carry: list[float] | None = [0.0, 0.0, 0.0]
        self._viseme_delay: deque[tuple[F32, bool, float]] = deque(maxlen=self._mouth.ahead + 1)
        self._gate_delay: deque[tuple[bool, float]] = deque(maxlen=self._visemes.ahead + 1)
        self._last_pts: dict[type, int] = {}
        self.reset()

    @property
    def latency(self) -> Ns:
        """How much later than its ``pts`` a cue comes out at worst, counted from when the sound of that moment is
        handed in: look-ahead, half a frame and the resampler. The length of a chunk comes on top."""
        half_frame = HALF / RATE + self._resampler.delay
        return Ns(round(self._lip_delay * HOP * SECOND / RATE + half_frame * SECOND))

    @property
    def hears_emotion(self) -> bool:
        """Whether the voice's emotion is looked for at this moment; it can be switched where it was asked for."""
        return self._listens

    @hears_emotion.setter
    def hears_emotion(self, on: bool) -> None:
        if self._feeling is None or on == self._listens:
            return
        self._listens = on
        self._feeling.reset()  # what was said meanwhile is not known, and what was said before is not kept

    @property
    def profile(self) -> SpeakerProfile | None:
        """What is known by now of how the speaker usually sounds; None where emotion is not looked for."""
        return None if self._feeling is None else self._feeling.profile

    def reset(self) -> None:
        """Forget everything heard so far, but for the speaker's profile."""
        self._restart()
        for part in (self._gate, self._pitch, self._head, self._brows, self._mouth):
            if part is not None:
                part.reset()
        self._gate.levels.reset()
        self._visemes.reset()
        self._last_pts.clear()

    def know(self, speaker: Speaker | None) -> None:
        """Begin from this person's voice, from the next sound on; None = from anybody's."""
        self._pitch.speaker = speaker
        self._pitch.reset()

    def use_head(self, model: HeadModel | None) -> None:
        """Move the head as this model's person does, from the next sound on, in place of rules too; None = as usual. A
        still head stays still. Wherever the head is then, it goes on from there."""
        usual, delay = self._usual_head
        if usual is None:
            return
        self._carry = None
        if isinstance(usual, HmmHead) and self._default_head is not None:
            usual.use(model if model is not None else self._default_head)
            return
        if model is None:
            self._head, self._head_delay = usual, delay
        else:
            self._head_delay = self._lip_delay
            self._head = HmmHead(model, self._seed, ahead=self._head_delay)
            self._head.emotion = self._emotion

    def feel(self, label: EmotionLabel, intensity: float) -> None:
        """The emotion that the head's range and pace follow; ``intensity`` in [0, 1]."""
        self._emotion = (label, intensity)
        if isinstance(self._head, HmmHead):
            self._head.emotion = self._emotion

    def _restart(self) -> None:
        """Forget the signal, but neither the speaker nor where mouth and head are: after a gap nothing jumps."""
        self._resampler.reset()
        self._frames.reset()
        self._vad.reset()
        self._gate.reset()
        self._accents.reset()
        if self._feeling is not None:
            self._feeling.reset()
        self._timeline.clear()
        self._viseme_delay.clear()
        self._gate_delay.clear()
        self._known: deque[tuple[int, int]] = deque(maxlen=64)
        self._received = 0
        self._expected: int | None = None

    def step(self, chunk: AudioChunk) -> tuple[Cue, ...] | None:
        """The cues that this chunk completes, in order of ``pts`` for each kind; None while there are none."""
        gap = self._expected is not None and abs(chunk.pts - self._expected) > _GAP
        if chunk.rate != self._resampler.rate:
            self._resampler = Resampler(chunk.rate)
            self._restart()
        elif chunk.discontinuity or gap:
            self._restart()
        self._expected = chunk.end
        self._timeline.add(self._received * (RATE / chunk.rate), chunk.pts)
        self._received += len(chunk.samples)
        out: list[Cue] = []
        if chunk.lips is not None:
            self._known.append((chunk.pts, chunk.end))
            out.extend(cue for cue in chunk.lips if self._advances(cue))
        hops = self._frames.push(self._resampler.process(clean(chunk.samples)))
        if hops:
            pitches = yin(np.stack([hop.past for hop in hops]))
            for hop, (f0, confidence) in zip(hops, pitches, strict=True):
                self._hear(hop, f0, confidence, out)
        return tuple(out) or None

    def flush(self) -> tuple[Cue, ...]:
        """What is still held back by the look-ahead, as if silence followed; for the end of a recording."""
        if self._expected is None:
            return ()
        end = self._expected
        count = round(self.latency * self._resampler.rate / SECOND) + HOP * self._resampler.rate // RATE
        silence = AudioChunk(Ns(end), np.zeros(count, np.float32), self._resampler.rate)
        return tuple(cue for cue in self.step(silence) or () if cue.pts < end)

    def _advances(self, cue: Cue) -> bool:
        """Whether a cue is newer than the last of its kind."""
        last = self._last_pts.get(type(cue))
        if last is not None and cue.pts <= last:
            return False
        self._last_pts[type(cue)] = cue.pts
        return True

    def _emit(self, cue: Cue, out: list[Cue]) -> None:
        if self._advances(cue):
            out.append(cue)

    def _hear(self, hop: Hop, f0: float, confidence: float, out: list[Cue]) -> None:
        gate = self._gate
        probability = self._vad.push(hop.new)
        speaking = gate.step(hop.level, probability)
        prosody = self._pitch.step(f0, confidence, hop.level, gate.levels.speech, speaking)
        pts = Ns(self._timeline.at(hop.index * HOP))
        self._emit(ProsodyCue(pts, prosody.f0, prosody.confidence, hop.level, probability), out)
        melody = self._accents.step(prosody)
        if self._head is not None and self._brows is not None:
            turned = self._turn(melody, prosody)
            drawn = hop.index - self._head_delay
            if drawn >= 0:
                self._emit(PoseCue(Ns(self._timeline.at(drawn * HOP)), turned), out)
            brows = self._brows.step(melody)
            if hop.index % 2 == 0:
                self._emit(ExpressionCue(pts, freeze(brows)), out)
        elif hop.index % 2 == 0:
            self._emit(PoseCue(pts, Pose()), out)
        if (
            self._feeling is not None
            and self._listens
            and (felt := self._feeling.step(hop, f0, confidence, gate)) is not None
        ):
            self._emit(EmotionCue(pts, felt.emotion, felt.confidence, felt.probabilities, felt.embedding), out)
            self.feel(felt.emotion.label, felt.confidence * felt.emotion.intensity)
        self._lips(hop, out)

    def _turn(self, melody: Melody, prosody: Prosody) -> Pose:
        """Where the head is. After a change of who moves it, the difference fades instead of showing as a jump."""
        assert self._head is not None
        new = self._head.step(melody, prosody)
        if self._carry is None:
            self._carry = [a - b for a, b in zip(self._angles, new, strict=True)]
        self._angles = tuple(a + b for a, b in zip(new, self._carry, strict=True))
        self._carry = [_FADE * b for b in self._carry]
        return Pose.degrees(*self._angles)

    def _lips(self, hop: Hop, out: list[Cue]) -> None:
        gate = self._gate
        estimate = self._visemes.step(hop, gate)
        # The loudness that goes with these visemes is that of the hop they belong to.
        self._gate_delay.append((gate.open, loudness(hop.level, gate.levels.speech)))
        voiced, loud = self._gate_delay[0]
        mouth = self._mouth.step(estimate, loud)
        self._viseme_delay.append((estimate.visemes, voiced, loud))
        index = hop.index - self._lip_delay
        if index < 0:
            return
        pts = self._timeline.at(index * HOP)
        while self._known and self._known[0][1] <= pts:
            self._known.popleft()
        if self._known and self._known[0][0] <= pts:
            return
        visemes, voiced, _ = self._viseme_delay[0]
        confidence = float(visemes.max()) if voiced else 1.0
        self._emit(LipCue(Ns(pts), freeze(visemes.astype(np.float32)), freeze(mouth), voiced, confidence), out)
