"""Where an emotion comes from: the configuration, the page's requests, and who has agreed to be read."""

import asyncio
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from avatar import parts
from avatar.config import load
from avatar.control import Control
from avatar.core import facs
from avatar.core.types import EMOTIONS, MILLISECOND, AudioChunk, Emotion, EmotionCue, FaceState, LipCue, Ns
from avatar.errors import ConfigError, UsageError
from avatar.models.expression import feeling as judged
from avatar.pipeline import offline
from avatar.streams.server import is_remote
from avatar.streams.wire import state_to_line
from avatar.sync import plane
from avatar.sync.expression import FELT
from avatar.sync.feeling import EmotionChoice, degrees_of
from avatar.sync.synchronizer import Style, Synchronizer


@pytest.fixture(params=[True, False])
def hears(request, monkeypatch):
    monkeypatch.setattr(parts, "hears_emotion", lambda: request.param)
    return request.param


def control(choice: EmotionChoice | None = None) -> Control:
    session = SimpleNamespace(synchronizer=Synchronizer(Style(emotion=choice or EmotionChoice("off"))))
    listener = SimpleNamespace(hears_emotion=False, felt=None)
    listener.feel = lambda label, intensity: setattr(listener, "felt", (label, intensity))
    pipeline = SimpleNamespace(session=session, config=load().config, listener=listener, calibrations=None)
    made = Control(pipeline)
    made.state = lambda: {}
    made._use_source = made._use_camera = lambda *_: asyncio.sleep(0)
    return made


def ask(made: Control, **changes: object) -> EmotionChoice:
    asyncio.run(made.update(changes))
    return made._pipeline.session.synchronizer.style.emotion


# --- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "choice"),
    [
        ([], EmotionChoice("off", strength=0.6)),
        (["face.emotion=neutral"], EmotionChoice("fixed")),
        (["face.emotion=anger", "face.intensity=0.4"], EmotionChoice("fixed", degrees_of("anger", 0.4))),
        (
            ["face.emotion=mirror", "face.mood=happiness"],
            EmotionChoice("mirror", strength=0.6, mood=degrees_of("happiness", 0.2)),
        ),
        (
            ["face.mood='sadness:0.35'", "face.intensity=1"],
            EmotionChoice("off", strength=1.0, mood=degrees_of("sadness", 0.35)),
        ),
    ],
)
def test_the_configuration_says_where_it_comes_from(settings, choice):
    assert parts.emotion_choice(load(None, settings).config) == choice


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("face.emotion=bored", "face.emotion = 'bored'"),
        ("face.mood=bored", "happiness"),
        ("face.mood='anger:2'", "'2' is not a degree from 0 to 1"),
        ("face.mood='anger:x'", "'x' is not a degree"),
        ("face.intensity=1.5", "face.intensity"),
    ],
)
def test_a_bad_setting_is_one_line(setting, says):
    with pytest.raises(ConfigError) as problem:
        load(None, [setting])
    assert says in str(problem.value)
    assert "\n" not in str(problem.value)


def test_every_emotion_can_be_set():
    for label in EMOTIONS:
        assert load(None, [f"face.emotion={label}"]).config.face.emotion == label


def test_hearing_needs_something_to_hear_with(hears):
    config = load(None, ["face.emotion=auto"]).config
    if hears:
        assert parts.emotion_choice(config).mode == "auto"
    else:
        with pytest.raises(ConfigError, match="encoder are missing"):
            parts.emotion_choice(config)


# --- the page -----------------------------------------------------------------------------------------------------


def test_a_point_of_the_plane_a_name_or_a_mode():
    made = control()
    chosen = ask(made, emotion={"angle": 65, "radius": 0.8})
    assert (chosen.mode, chosen.fixed) == ("fixed", pytest.approx(degrees_of("surprise", 0.8)))
    assert ask(made, emotion={"label": "fear", "intensity": 0.3}).fixed == degrees_of("fear", 0.3)
    assert ask(made, emotion={"label": "neutral", "intensity": 0.3}).fixed == (0.0,) * 6
    assert ask(made, emotion={"label": "anger", "intensity": 0.5}).fixed == degrees_of("anger", 0.5)
    off = ask(made, emotion={"mode": "off"})
    assert (off.mode, off.fixed) == ("off", degrees_of("anger", 0.5))
    assert ask(made, emotion={"mode": "fixed"}).fixed == degrees_of("anger", 0.5), "one can go back to it"
    leaning = ask(made, emotion={"mode": "mirror"}, mood={"angle": 10, "radius": 0.2}, strength=0.9)
    assert (leaning.mode, leaning.mood, leaning.strength) == (
        "mirror",
        pytest.approx(degrees_of("happiness", 0.2)),
        0.9,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"emotion": "anger"},
        {"emotion": {"label": "bored"}},
        {"emotion": {"label": "anger", "intensity": 2}},
        {"emotion": {"label": "anger", "angle": 3}},
        {"emotion": {"angle": 3}},
        {"emotion": {"angle": "x", "radius": 1}},
        {"emotion": {"angle": 3, "radius": 1.2}},
        {"emotion": {"mode": "loud"}},
        {"emotion": {"mode": "fixed", "label": "anger"}},
        {"mood": {"mode": "auto"}},
        {"strength": 1.5},
        {"strength": True},
        {"feeling": 1},
    ],
)
def test_a_bad_request_changes_nothing(changes):
    made = control(EmotionChoice.of("fear", 0.5))
    before = made._pipeline.session.synchronizer.style
    with pytest.raises(UsageError):
        ask(made, **changes)
    assert made._pipeline.session.synchronizer.style is before


def test_hearing_is_offered_only_where_it_is_possible(hears):
    made = control()
    assert ("auto" in made._modes()) == hears
    if hears:
        assert ask(made, emotion={"mode": "auto"}).mode == "auto"
        assert made._pipeline.listener.hears_emotion
        ask(made, emotion={"mode": "off"})
        assert not made._pipeline.listener.hears_emotion, "nobody is read whom nobody has asked to read"
    else:
        with pytest.raises(UsageError, match="emotion mode"):
            ask(made, emotion={"mode": "auto"})


@pytest.mark.parametrize("begins", [{"source": "page", "peer": "x"}, {"camera": True, "peer": "x"}])
@pytest.mark.parametrize("mode", ["auto", "mirror"])
def test_who_speaks_from_another_machine_is_not_read_until_it_is_chosen(begins, mode, monkeypatch):
    monkeypatch.setattr(parts, "hears_emotion", lambda: True)
    made = control(EmotionChoice(mode))
    assert ask(made, **begins).mode == mode, "the own machine goes on"
    assert ask(made, **begins, remote=True).mode == "off"
    assert ask(made, emotion={"mode": mode}, remote=True).mode == mode
    assert ask(made, camera=False, remote=True).mode == mode
    fixed = control(EmotionChoice.of("anger", 0.5))
    assert ask(fixed, **begins, remote=True).mode == "fixed", "what is held reads nobody"


@pytest.mark.parametrize(
    ("address", "headers", "remote"),
    [
        ("127.0.0.1", {}, False),
        ("::1", {}, False),
        ("192.168.1.7", {}, True),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.9"}, True),
        (None, {}, True),
    ],
)
def test_another_machine_is_known_by_its_address_or_by_the_proxy_that_it_comes_through(address, headers, remote):
    assert is_remote(SimpleNamespace(remote=address, headers=headers)) is remote


# --- out of the engine --------------------------------------------------------------------------------------------


class Angry:
    """Hears nothing but anger for two seconds, then silence."""

    def step(self, chunk: AudioChunk):
        angry = chunk.pts < 2_000 * MILLISECOND
        p = np.array([0.1, 0, 0, 0.9, 0, 0, 0] if angry else [1, 0, 0, 0, 0, 0, 0], np.float32)
        cue = EmotionCue(chunk.pts, Emotion("anger" if angry else "neutral", 0.9, -0.4, 0.8), 1.0 if angry else 0.0, p)
        return (LipCue(chunk.pts, np.zeros(15, np.float32), facs.arkit_vector({}), angry), cue)

    def reset(self):
        pass


def test_a_heard_emotion_leaves_with_the_states_and_ends_with_the_voice():
    sound = offline.chunks(np.zeros(6 * 16_000, np.float32), 16_000)
    sync = Synchronizer(Style(emotion=EmotionChoice("auto")), seed=1)
    states: list[FaceState] = list(offline.states(sound, 180, 30, Angry(), Ns(0), lambda *_: (), sync))
    lines = [json.loads(state_to_line(state)) for state in states]
    labels = [line["emotion"]["label"] for line in lines]
    assert labels[0] == labels[-1] == "neutral"
    assert labels[50] == "anger"
    assert sum(a != b for a, b in itertools.pairwise(labels)) == 2
    assert lines[50]["emotion"]["valence"] == pytest.approx(-0.4)
    assert lines[50]["emotion"]["arousal"] == pytest.approx(0.8)
    assert lines[59]["au"]["4"] > 0.6
    assert lines[-1]["au"]["4"] < 0.02


# --- the judge ----------------------------------------------------------------------------------------------------


def watched(n: int, gap: np.ndarray | float = 0.2, **units: float) -> judged.Watched:
    values = np.zeros((n, len(judged._MEASURED) + len(judged._LENGTHS)))
    for name, value in units.items():
        values[:, judged._MEASURED.index(int(name[2:]))] = value
    return judged.Watched(np.arange(n) / 30, values, np.broadcast_to(gap, n).astype(float), [])


def test_the_judge_sees_direction_likeness_and_closures():
    still = {label: watched(1, **{f"au{u}": 0.3 for u in units}).units[0] for label, units in
             {"happiness": (6, 12), "sadness": (1, 4, 15), "anger": (4, 7), "fear": (1, 2, 5), "disgust": (7, 9),
              "surprise": (1, 2)}.items()}  # fmt: skip
    gap = np.full(90, 0.2)
    gap[[40, 41, 60, 61]] = 0.0
    open_lips = gap.copy()
    open_lips[60:62] = 0.1
    job = judged.Job("a", "anger", None)
    good = judged.judge(job, {"off": watched(90, gap), "felt": watched(90, gap, au4=0.2, au7=0.1)}, still)
    assert (good["right"], good["visible"], good["nearest"]) == (2, 2, "anger")
    assert (good["closures"], good["closures_kept"]) == (2, 2)
    bad = judged.judge(job, {"off": watched(90, gap, au4=0.3), "felt": watched(90, open_lips, au12=0.5)}, still)
    assert (bad["right"], bad["nearest"]) == (0, "happiness")
    assert bad["closures_kept"] == 1


def test_recordings_come_by_an_index_and_other_labels_are_told(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.wav").touch()
    (tmp_path / "index.csv").write_text("file,speaker,emotion\na.wav,1,joy\nb.wav,1,boredom\nc.wav,2,anger\n")
    jobs, other = judged.recordings(tmp_path)
    assert [(job.name, job.emotion) for job in jobs] == [("a", "happiness"), ("c", "anger")]
    assert other == {"boredom": 1}
    (tmp_path / "index.csv").write_text("file,speaker,emotion\nz.wav,1,joy\n")
    with pytest.raises(UsageError, match=r"z\.wav is not there"):
        judged.recordings(tmp_path)
    with pytest.raises(UsageError, match=r"no index\.csv"):
        judged.recordings(tmp_path / "nowhere")


def test_the_plane_of_the_page_has_every_emotion():
    assert set(plane.ANGLES) == set(FELT)


# --- the head -----------------------------------------------------------------------------------------------------


def test_a_chosen_emotion_moves_the_head_too():
    made = control()
    ask(made, emotion={"label": "anger", "intensity": 0.8})
    assert made._pipeline.listener.felt == ("anger", pytest.approx(0.8))
    ask(made, emotion={"mode": "off"})
    assert made._pipeline.listener.felt == ("neutral", 0.0)


# --- the listener -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("emotion", "live", "at_once", "later"), [
    ("off", False, False, False), ("off", True, False, True), ("auto", False, True, True), ("auto", True, True, True),
])  # fmt: skip
def test_the_listener_looks_for_an_emotion_only_when_it_is_asked_for(emotion, live, at_once, later):
    listener = parts.make_listener(load(None, [f"face.emotion={emotion}"]).config, live=live)

    def cues(start: float) -> int:
        sound = 0.1 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
        found = [listener.step(AudioChunk(Ns(round(start * 1e9) + c.pts), c.samples, c.rate))
                 for c in offline.chunks(sound, 16_000)]  # fmt: skip
        return sum(isinstance(cue, EmotionCue) for each in found for cue in each or ())

    assert (cues(0) > 5) == at_once
    listener.hears_emotion = True
    assert (cues(1) > 5) == later
    listener.hears_emotion = False
    assert cues(2) == 0
