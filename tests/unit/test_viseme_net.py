# ruff: noqa: RUF001 - phonetic signs are meant
"""The viseme network: what it is taught, what it sees, and that it runs hop by hop as it was trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import avatar.models
from avatar.analysis.features import HOP, MELS, FrameStream
from avatar.analysis.mouth import CALM_MS, LIVE_MS
from avatar.analysis.normalizer import Normalizer
from avatar.analysis.phonemes import PhonemeMark
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.analysis.visemes import WEIGHTS_FILE, VisemeEstimator
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.errors import ModelFileError
from avatar.models.data.corpus import Utterance
from avatar.models.onnx_file import Graph
from avatar.models.visemes import augment
from avatar.models.visemes.dataset import Item, distort, mel_frames, pack, unpack
from avatar.models.visemes.sampler import Sampler, gate_of, mean_shape, sample_weights
from avatar.models.visemes.targets import PHONES, targets
from avatar.models.visemes.tune import PAUSE, listen, margin
from avatar.network import one_thread_session
from avatar.streams.sources.text import EspeakVoice

WEIGHTS = Path(avatar.models.__file__).parent / "weights"
PP = VISEME_INDEX["PP"]
MARKS = (
    PhonemeMark(0.10, 0.20, "m"), PhonemeMark(0.20, 0.40, "ˈɑː"), PhonemeMark(0.40, 0.50, "t"),
    PhonemeMark(0.50, 0.70, "uː"), PhonemeMark(0.70, 0.80, ""),
)  # fmt: skip


# --- targets ------------------------------------------------------------------------------------------------------


def test_targets_are_shares_and_curves_that_say_what_the_mouth_does():
    t = targets(MARKS, np.ones(len(MARKS), np.float32), 90)
    np.testing.assert_allclose(t.visemes.sum(axis=1), 1, atol=1e-5)
    jaw, rounding, press = t.curves.T
    assert press[12:19].min() == 1
    assert press[22:].max() == 0
    assert jaw[28:32].min() > 0.9
    assert jaw[14] < 0.4
    assert rounding[55:65].min() > 0.9
    assert 0 <= t.curves.min() <= t.curves.max() <= 1
    assert PHONES[t.phones[15]].startswith("m")
    assert t.phones[85] == 0


def test_rounding_comes_early_and_a_tongue_sound_does_not_break_it():
    rounding = targets(MARKS, np.ones(len(MARKS), np.float32), 90).curves[:, 1]
    assert rounding[42] > 0.35, "80 ms before the vowel"
    assert rounding[47] > 0.8, "during the t"
    assert rounding[25] < 0.05


def test_edges_of_closures_and_unsure_marks_count_less():
    trusts = np.array([1, 1, 0.2, 1, 1], np.float32)
    weight = targets(MARKS, trusts, 90).weight
    assert weight[15, 1] == 1
    assert weight[10, 1] < 0.5
    assert weight[45, 0] == pytest.approx(0.2)
    assert weight[30, 0] == 1


def test_targets_survive_packing():
    t = targets(MARKS, np.ones(len(MARKS), np.float32), 90)
    visemes, curves, weights, phones = unpack(pack(t))
    np.testing.assert_allclose(visemes, t.visemes, atol=2e-3)
    np.testing.assert_allclose(curves, t.curves, atol=2e-3)
    np.testing.assert_allclose(weights, t.weight, atol=2e-3)
    np.testing.assert_array_equal(phones, t.phones)


# --- what the network sees ----------------------------------------------------------------------------------------


@cache
def speech() -> np.ndarray:
    return EspeakVoice().synthesize("Papa and mama bought a big map.", "en-us+m5").resampled(16_000).samples


def test_frames_made_at_once_are_the_live_ones():
    live = np.stack([hop.logmel for hop in FrameStream().push(speech())])
    np.testing.assert_allclose(mel_frames(speech())[: len(live)], live, atol=1e-4)


def normalised(x: np.ndarray) -> np.ndarray:
    norm = Normalizer(np.zeros(MELS, np.float32))
    return np.stack([norm.step(m, np.float32(1)) for m in mel_frames(x)])


@pytest.mark.parametrize("gain", [0.05, 0.3])
def test_the_gain_is_gone_after_200_ms_of_speech(gain):
    from_start = speech()[np.argmax(np.abs(speech()) > 0.02) :]
    loud, quiet = normalised(from_start), normalised(from_start * gain)
    heard = loud > -2  # the floor of the features is not speech
    difference = np.abs(loud - quiet) * 2 * 10 / np.log(10)
    assert difference[20:][heard[20:]].mean() < 4
    assert difference[100:][heard[100:]].mean() < 1.5


def test_the_tone_of_a_microphone_fades_from_the_features():
    tilt = np.linspace(-1.5, 1.5, MELS).astype(np.float32)
    plain, bent = (Normalizer(np.zeros(MELS, np.float32)) for _ in range(2))
    frames = np.tile(mel_frames(speech()), (6, 1))
    a = np.stack([plain.step(m, np.float32(1)) for m in frames])
    b = np.stack([bent.step(m + tilt, np.float32(1)) for m in frames])
    n = len(frames) // 6
    assert np.abs(a - b)[-n:].mean() < 0.7 * np.abs(a - b)[:n].mean()


def test_many_streams_at_once_are_normalised_as_each_alone():
    mel = mel_frames(speech())[:120]
    both = Normalizer(np.zeros(MELS, np.float32), (2,))
    alone = Normalizer(np.zeros(MELS, np.float32))
    for k, m in enumerate(mel):
        on = np.float32(k > 30)
        together = both.step(np.stack((m, m - 2)), np.array([[on], [0]], np.float32))
        np.testing.assert_allclose(together[0], alone.step(m, on), atol=1e-5)


def test_the_gate_of_training_bridges_stops_and_is_late():
    talk = np.zeros((1, 100), bool)
    talk[0, 20:40] = talk[0, 46:70] = True
    gate = gate_of(talk, np.array([4]))[0]
    assert not gate[:24].any()
    assert gate[24:70].all()
    assert not gate[85:].any()


# --- batches ------------------------------------------------------------------------------------------------------


def items(count: int = 6) -> list[Item]:
    out = []
    for k, voice in enumerate(("m5", "f3", "m7")[: count // 2]):
        said = EspeakVoice().synthesize("Papa and mama bought a big map.", f"en-us+{voice}").resampled(16_000)
        for variant in range(2):
            sound = said.samples
            mel = mel_frames(sound)
            packed = pack(targets(said.marks, np.ones(len(said.marks), np.float32), len(mel)))
            out.append(Item(mel.astype(np.float16), packed, f"{k}", voice, "espeak", "en-us", "train", variant))
    return out


def test_batches_are_finite_normalised_and_the_same_for_a_seed():
    made = items()
    shape = mean_shape(made)
    a, b, other = (Sampler(made, shape, seed, hops=120).batch(4) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.features, b.features)
    assert (a.features != other.features).any()
    assert a.features.shape == (4, MELS, 120)
    assert np.isfinite(a.features).all()
    assert np.abs(a.features).max() < 8
    np.testing.assert_allclose(a.visemes.sum(axis=1), 1, atol=0.02)
    assert a.curves[:, 2].max() == 1


def test_a_small_source_is_heard_but_not_as_often_as_a_large_one():
    small, *large = items()
    small = Item(small.mel, small.packed, "x", "x", "tiny", "en", "train", 0)
    weights = sample_weights([small, *large])
    assert weights.sum() == pytest.approx(1)
    assert 0.1 < weights[0] < 0.75


def test_disturbances_keep_power_finite_and_speech_audible():
    random = np.random.default_rng(0)
    power = np.exp(mel_frames(speech())[None, :200].repeat(8, axis=0))
    noises = augment.colour(8, power.shape[1], random)
    out = augment.disturb(power, noises, random)
    assert np.isfinite(out).all()
    loudness = power.mean(axis=2)[0]
    heard = [np.corrcoef(np.log(loudness + 1e-6), o.mean(axis=1))[0, 1] for o in out]
    assert np.median(heard) > 0.4


def test_distorted_sound_says_how_much_longer_it_is():
    for seed in range(4):
        sound, factor = distort(speech(), np.random.default_rng(seed))
        assert len(sound) == pytest.approx(len(speech()) * factor, rel=0.01)
        assert 0.85 < factor < 1.18
        assert np.isfinite(sound).all()


# --- the file -----------------------------------------------------------------------------------------------------


def test_a_written_graph_runs(tmp_path):
    graph = Graph()
    x = graph.input("x", (1, 2, "n"))
    weight = np.array([[[1.0], [2.0]]], np.float32)
    graph.output("y", graph.node("Conv", x, graph.weight(weight), kernel_shape=[1]), (1, 1, "n"))
    (tmp_path / "g.onnx").write_bytes(graph.model({"about": "1"}))
    session = one_thread_session(tmp_path / "g.onnx")
    (y,) = session.run(None, {"x": np.array([[[1, 2, 3], [4, 5, 6]]], np.float32)})
    np.testing.assert_allclose(y, [[[9, 12, 15]]])
    assert session.get_modelmeta().custom_metadata_map == {"about": "1"}


def test_the_shipped_network_is_small_and_streams_as_it_hears_a_whole_sentence():
    path = WEIGHTS / WEIGHTS_FILE
    assert path.stat().st_size <= 2_000_000
    session = one_thread_session(path)
    about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    x = normalised(speech())[:160].T[None]
    state = np.zeros((1, about["state"]), np.float32)
    whole, _ = session.run(None, {"features": x, "state": state})
    parts = []
    for at in range(0, 160, 2):
        part, state = session.run(None, {"features": x[:, :, at : at + 2], "state": state})
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, axis=-1), whole, atol=1e-4)


def estimates(look_ahead_ms: int, x: np.ndarray) -> tuple[VisemeEstimator, list]:
    estimator = VisemeEstimator(WEIGHTS / WEIGHTS_FILE, look_ahead_ms)
    vad, gate = SileroVad(WEIGHTS / VAD_FILE), SpeechGate()
    out = []
    for hop in FrameStream().push(x):
        gate.step(hop.level, vad.push(hop.new))
        out.append(estimator.step(hop, gate))
    return estimator, out


def test_look_ahead_is_what_was_asked_for_and_never_more():
    path = WEIGHTS / WEIGHTS_FILE
    for ms, ahead in ((0, 0), (30, 0), (40, 2), (LIVE_MS, 4), (CALM_MS, 14), (1000, 14)):
        assert VisemeEstimator(path, ms).ahead == ahead


@pytest.mark.parametrize("ms", [0, LIVE_MS, CALM_MS])
def test_nothing_after_the_look_ahead_is_used(ms):
    """The same sound up to a moment, and whatever after it, gives the same estimates up to that moment."""
    x = np.concatenate((np.zeros(8_000, np.float32), speech(), np.zeros(8_000, np.float32)))
    cut = len(x) // 2 // HOP * HOP
    other = x.copy()
    other[cut:] = np.random.default_rng(0).normal(0, 0.1, len(x) - cut)
    _, a = estimates(ms, x)
    _, b = estimates(ms, other)
    last = cut // HOP - 2  # the frame of this hop ends before the cut
    for k in range(last):
        np.testing.assert_array_equal(a[k].visemes, b[k].visemes)
        assert (a[k].jaw, a[k].rounding, a[k].press) == (b[k].jaw, b[k].rounding, b[k].press)


@pytest.mark.parametrize("ms", [LIVE_MS, CALM_MS])
def test_lips_meet_for_papa_and_mama_and_open_between(ms):
    said = EspeakVoice().synthesize("Papa mama, papa mama.", "en-us+m5")
    x = said.resampled(16_000).samples
    x = np.concatenate((x, np.zeros(8_000, np.float32)))
    estimator, out = estimates(ms, x)
    press = np.array([e.press for e in out])[estimator.ahead :]
    jaw = np.array([e.jaw for e in out])[estimator.ahead :]
    # The first one begins before anything can be known.
    closures = [m for m in said.marks if m.ipa[:1] in ("p", "m")][1:]
    vowels = [m for m in said.marks if "ɑ" in m.ipa]
    met = [press[round(m.start_s * 100) - 4 : round(m.end_s * 100) + 4].max() > 0.5 for m in closures]
    assert np.mean(met) >= 0.85
    middles = [round(50 * (m.start_s + m.end_s)) for m in vowels]
    assert np.median(press[middles]) < 0.2
    assert np.median(jaw[middles]) > 0.5


def test_silence_and_noise_are_silent_lips():
    noise = np.random.default_rng(0).normal(0, 0.03, 32_000).astype(np.float32)
    for x in (noise, np.zeros(32_000, np.float32)):
        _, out = estimates(LIVE_MS, x)
        assert np.mean([e.visemes[0] for e in out]) > 0.98
        assert max(e.press for e in out) < 0.5


def test_estimates_are_probabilities():
    _, out = estimates(LIVE_MS, speech())
    for e in out:
        assert e.visemes.shape == (len(VISEMES),)
        assert e.visemes.sum() == pytest.approx(1, abs=1e-4)
        assert min(e.visemes.min(), e.jaw, e.rounding, e.press) >= 0
        assert max(e.jaw, e.rounding, e.press) <= 1


def test_reset_forgets_everything():
    estimator = VisemeEstimator(WEIGHTS / WEIGHTS_FILE)
    hops = FrameStream().push(speech())

    def run() -> Iterator[np.ndarray]:
        estimator.reset()
        gate = SpeechGate()
        for hop in hops[:81]:
            gate.step(hop.level, 1.0)
            yield estimator.step(hop, gate).visemes

    np.testing.assert_array_equal(list(run()), list(run()))


def test_a_file_of_something_else_is_one_clear_line(tmp_path):
    (tmp_path / "v.onnx").write_bytes((WEIGHTS / VAD_FILE).read_bytes())
    with pytest.raises(ModelFileError, match="not a viseme network"):
        VisemeEstimator(tmp_path / "v.onnx")


@pytest.mark.parametrize("ms", [0, LIVE_MS, CALM_MS])
def test_thresholds_are_chosen_on_what_the_estimator_says(ms):
    utterance = Utterance(speech(), (), "m5", "espeak", "en-us", np.zeros(0, np.float32))
    (heard,) = listen(WEIGHTS, WEIGHTS / WEIGHTS_FILE, [utterance])
    pause = np.zeros(PAUSE * HOP, np.float32)
    estimator, out = estimates(ms, np.concatenate((pause, speech(), pause)))
    session = one_thread_session(WEIGHTS / WEIGHTS_FILE)
    biases = json.loads(session.get_modelmeta().custom_metadata_map["press_bias"])
    head = estimator.ahead
    n = len(speech()) // HOP
    live = np.array([e.press for e in out[PAUSE + head : PAUSE + head + n]])
    mine = heard.opened[head] / (1 + np.exp(-(heard.press[head] + biases[str(head)])))
    np.testing.assert_allclose(mine, live, atol=1e-3)


def test_a_bias_that_reaches_what_is_wanted_beats_one_that_does_not():
    good = {"real": (0.9, 0.1, 0.6), "espeak": (0.95, 0.05, 0.7)}
    eager = {"real": (0.99, 0.5, 0.6), "espeak": (0.99, 0.3, 0.7)}
    shy = {"real": (0.4, 0.0, 0.6), "espeak": (0.6, 0.0, 0.7)}
    assert margin(good, "live") > max(margin(eager, "live"), margin(shy, "live"))


# --- training -----------------------------------------------------------------------------------------------------


def test_training_learns_goes_on_after_a_stop_and_exports_what_it_has_learnt(tmp_path, monkeypatch):
    # Training needs torch, which is part of the extra [train] only.
    torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")
    from avatar.models.visemes import train
    from avatar.models.visemes.export import onnx_bytes
    from avatar.models.visemes.model import Shape
    from avatar.models.visemes.train import Trainer, load_net

    monkeypatch.setattr(train, "BATCH", 4)
    monkeypatch.setattr(train, "WARM_UP", 5)
    size = Shape(front=16, channels=24, dilations=(1, 2), hidden=16)
    made = items()
    trainer = Trainer(made, mean_shape(made), size, tmp_path, every=5)
    trainer.run(10, most_steps=10)
    again = Trainer(made, mean_shape(made), size, tmp_path, every=5)
    again.resume()
    assert again.steps == trainer.steps
    again.run(10, most_steps=30)
    assert again.steps == 30
    rows = again.rows
    assert rows[-1]["loss"] < 0.95 * rows[0]["loss"]

    net, shape = load_net(again.checkpoint)
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes(net, {"shape": shape.tolist(), "press_bias": {str(k): 0.0 for k in size.heads}}))
    x = normalised(speech())[:60].T[None]
    session = one_thread_session(path)
    state = np.zeros((1, session.get_inputs()[1].shape[1]), np.float32)
    logits, _ = session.run(None, {"features": x, "state": state})
    with torch.no_grad():
        truth = net(torch.from_numpy(x))
    for k, head in enumerate(size.heads):
        mine = logits[0, k].transpose(1, 2, 0).reshape(18, -1)
        np.testing.assert_allclose(mine, truth[head][0][0].numpy(), atol=2e-2)
    assert VisemeEstimator(path, CALM_MS).ahead == 14
