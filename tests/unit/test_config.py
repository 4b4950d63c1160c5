"""Configuration files, --set and their errors."""

import pytest

from avatar import outputs
from avatar.config import Config, load
from avatar.errors import ConfigError
from avatar.parts import make_listener, shipped_configs, timing
from avatar.streams.sinks.parameters.shaping import Shape


def test_defaults_file_and_settings_in_that_order(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[avatar]\nfps = 25\nsize = 256\n")
    loaded = load(file, ["avatar.size=1024", "input.audio=talk.wav", "output.sinks=['null']"])
    assert (loaded.config.avatar.fps, loaded.config.avatar.size) == (25, 1024)
    assert loaded.config.input.audio == "talk.wav"
    assert loaded.config.output.sinks == ("null",)
    origins = {name: origin for name, _, origin in loaded.rows()}
    assert origins["avatar.fps"] == str(file)
    assert origins["avatar.size"] == "--set"
    assert origins["avatar.engine"] == "default"


@pytest.mark.parametrize(
    "name", ["webcam.toml", "webrtc", "headless", "robot", "low_latency", "streamer", "mechanical"]
)
def test_shipped_files_load_by_name(name):
    assert load(name).origins


@pytest.mark.parametrize("name", shipped_configs())
def test_the_budget_of_every_shipped_file_is_long_enough(name):
    analysis = make_listener(load(name).config).latency
    assert timing(load(name).config, analysis).spare(analysis) >= 0


def test_a_budget_that_is_too_short_is_refused_with_the_least_that_is_not():
    config = load(None, ["sync.budget_ms=70"]).config
    with pytest.raises(ConfigError, match="at least 148"):
        timing(config, make_listener(config).latency)


@pytest.mark.parametrize("name", shipped_configs())
def test_the_parameter_outputs_of_every_shipped_file_can_be_made(name):
    config = load(name).config
    for sink in set(config.output.sinks) & set(outputs.NAMES):
        assert outputs.make(sink, config).name == sink


def test_every_parameter_output_has_its_table_and_takes_rate_smoothing_and_mirror(monkeypatch):
    assert set(outputs.NAMES) <= set(Config.model_fields)
    settings = ["sync.lead_ms=200", "sync.budget_ms=400"]
    for name in outputs.NAMES:
        settings += [f"{name}.rate=20", f"{name}.smooth_ms=30", f"{name}.mirror=true"]
    config = load(None, settings).config
    for name in outputs.NAMES:
        sink = outputs.make(name, config)
        assert sink.name == name
        assert sink._shape == Shape(20, 30, True)
    assert outputs.make("robot", load(None, ["robot.transport=tcp"]).config).name == "robot"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("avatar.fsp=3", "unknown key avatar.fsp; known here: name, engine"),
        ("nothing.at=1", "unknown key nothing; known here: avatar"),
        ("avatar.fps=fast", "avatar.fps = 'fast': input should be a valid integer"),
        ("avatar.size=100", "avatar.size = 100"),
        ("face.emotion=bored", "face.emotion = 'bored'"),
        ("vmc.clips=['vrm2']", "vmc.clips.0 = 'vrm2'"),
        ("vmc.port=3", "unknown key vmc.port; known here: rate, smooth_ms, mirror, to"),
        ("fps=3", "write table.key=value"),
        ("avatar.fps", "write table.key=value"),
    ],
)
def test_bad_settings_are_one_clear_line(setting, says):
    with pytest.raises(ConfigError) as caught:
        load(None, [setting])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[avatar\n", "avatar = 3\n", "[avatar]\nbrow = 1\n", "\xff"])
def test_bad_files_name_the_file(tmp_path, content):
    file = tmp_path / "broken.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"broken\.toml") as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_an_unknown_file_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"webcam\.toml"):
        load("nowhere.toml")
