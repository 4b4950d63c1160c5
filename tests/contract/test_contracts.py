"""Everything that ships keeps its contract."""

import numpy as np
import pytest

from avatar import outputs, plugins
from avatar.analysis.voice import VoiceAnalyzer
from avatar.config import load
from avatar.core.types import AudioChunk, Ns, freeze
from avatar.models import registry
from avatar.parts import library, make_engine
from avatar.pipeline.resample import Resampler
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.null import NullSink
from avatar.streams.sinks.parameters.websocket import ParameterSink
from avatar.streams.sinks.recorder import RecorderSink
from avatar.streams.sinks.webrtc import WebRtcSink
from avatar.testing.contracts import check_engine, check_sink, check_stage


def voice(rate=48_000, seconds=2.0):
    rng = np.random.default_rng(3)
    t = np.arange(round(rate * seconds)) / rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 2 * t) > 0)
    x = (0.1 * buzz + 0.001 * rng.standard_normal(len(t))).astype(np.float32)
    n = rate // 50
    return [AudioChunk(Ns(i * 20_000_000), freeze(x[i * n : (i + 1) * n].copy()), rate) for i in range(len(x) // n)]


@pytest.mark.parametrize("name", plugins.names("engines"))
def test_engines(name):
    avatar = library().load(library().names()[0])
    check_engine(lambda size: make_engine(name, avatar, size))


def test_the_voice_analyzer_is_a_stage():
    check_stage(lambda: VoiceAnalyzer(registry.weights_dir()), voice())


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_resampler_is_a_stage(rate):
    check_stage(lambda: Resampler(48_000), voice(rate, 0.5))


@pytest.mark.parametrize("name", [name for name in outputs.NAMES if name != "ros"])  # ROS is no package
async def test_parameter_outputs(name, tmp_path, monkeypatch, unused_udp_port_factory):
    """Whether or not anybody listens."""
    monkeypatch.setattr(outputs, "token_file", lambda: tmp_path / "token.json")
    free = unused_udp_port_factory()
    settings = [f"ifacialmocap.port={free}", "sync.lead_ms=200", "sync.budget_ms=400"]
    for table in ("vmc", "vrchat", "live_link", "robot", "servo"):
        settings.append(f"{table}.to=['127.0.0.1:{free}']")
    await check_sink(lambda: outputs.make(name, load(None, settings).config), StreamFormat(size=64))


@pytest.mark.parametrize("kind", ["null", "mp4", "mkv", "parameters", "webrtc"])
async def test_sinks(kind, tmp_path, unused_tcp_port_factory):
    made = {
        "null": NullSink,
        "mp4": lambda: RecorderSink(tmp_path / "x.mp4"),
        "mkv": lambda: RecorderSink(tmp_path / "x.mkv"),
        "parameters": lambda: ParameterSink(port=unused_tcp_port_factory()),
        "webrtc": WebRtcSink,
    }
    await check_sink(made[kind], StreamFormat(size=64))
