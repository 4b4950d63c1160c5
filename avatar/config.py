"""Configuration: TOML files over defaults, ``--set`` over both. Unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from avatar.analysis.mouth import CALM_MS, LIVE_MS
from avatar.config_outputs import (
    FurhatTable,
    IFacialMocapTable,
    LiveLinkTable,
    RobotTable,
    RosTable,
    ServoTable,
    StateTable,
    Table,
    VmcTable,
    VrchatTable,
    VtubeStudioTable,
)
from avatar.core.types import EMOTIONS, EmotionLabel
from avatar.errors import ConfigError


class AvatarTable(Table):
    name: str = "lin"
    """An avatar of the library, or the path of a photo."""
    engine: str = "auto"
    """An engine's name; auto: generator where this machine is fast enough, else head."""
    quality: Literal["low", "medium", "high", "auto"] = "auto"
    """high: the best engine, all pixels; medium: the next engine, where engine is auto; low: fewer pixels, enlarged;
    auto: the best that a second's measurement at the start finds fast enough."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the networks that draw run: cuda needs onnxruntime-gpu in place of onnxruntime."""
    background: str = "keep"
    """Behind the person: keep, blur, green, alpha, a colour (#20304a) or a picture's path."""
    size: int = Field(512, ge=256, le=1024, multiple_of=16)
    fps: int = Field(30, ge=5, le=60)
    badge: Literal["bottom-left", "bottom-right", "top-left", "top-right", "none"] = "bottom-right"
    """Corner of the visible badge; none takes it off, if ``badge_reason`` says why: that is logged and written into the
    manifest, and the invisible marks stay."""
    badge_size: float = Field(0.05, ge=0.05, le=0.2)
    """Height of the badge in parts of the picture's side."""
    badge_reason: str = ""

    @model_validator(mode="after")
    def _reasoned(self) -> AvatarTable:
        if self.badge == "none" and len(self.badge_reason.strip()) < 10:
            raise ValueError("badge none: avatar.badge_reason says why, in ten letters or more; it is logged")
        return self


class InputTable(Table):
    audio: str = "demo"
    """demo, page, silence, microphone, websocket, probe, a media file's path, or a plug-in's name."""
    device: str = ""
    """Microphone by name or number; empty = the system's default."""
    voice: str = ""
    """espeak-ng voice that speaks texts which name none, as de or en-us+f3; empty = en-us."""
    video: str = "page"
    """page, camera, none, a video file's path, or a plug-in's name."""
    camera: str = "0"
    """Camera by number, or a video file that stands for one."""
    mirror: bool = False
    """The avatar does what a mirror would show: the camera's left and right change sides."""
    face: Literal["largest", "center", "left", "right"] = "largest"
    """Of several faces before the camera, the one that is followed until it is lost."""
    program_port: int = Field(0, ge=0, le=65535)
    """Programs drive the face over a WebSocket there, and ``osc_port`` over OSC; 0 = not."""
    osc_port: int = Field(0, ge=0, le=65535)
    websocket_port: int = Field(8081, ge=1, le=65535)


class SyncTable(Table):
    budget_ms: int = Field(160, ge=60, le=2000)
    """Everything that leaves is this much later than it happened."""
    intake_ms: int = Field(45, ge=0, le=500)
    """How long arriving sound may be late."""
    lead_ms: int = Field(20, ge=5, le=500)
    """A picture is begun this long before it leaves."""
    chunk_ms: Literal[10, 20] = 20
    """Sound is analysed in pieces of this length."""
    look_ahead_ms: int = Field(LIVE_MS, ge=0, le=CALM_MS)
    """The lips may look this far ahead: 60 for conversation; 160 is surer of closures and needs 110 ms more budget."""


def named(text: str) -> tuple[EmotionLabel, float]:
    """``NAME[:0..1]`` as an emotion and its degree; empty = neutral. Raises ValueError with one line."""
    label, colon, degree = text.partition(":")
    if label not in (*EMOTIONS, ""):
        raise ValueError(f"write one of {', '.join(EMOTIONS)}, with :0..1 behind it if you like")
    try:
        value = float(degree) if colon else 0.2
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{degree!r} is not a degree from 0 to 1")
    return cast(EmotionLabel, label or "neutral"), value


class FaceTable(Table):
    emotion: Literal[
        "off", "auto", "mirror", "neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise"
    ] = "off"
    """off, auto (heard in the voice), mirror (seen by the camera), or one that is held."""
    intensity: float = Field(0.6, ge=0, le=1)
    """Of a held emotion; of a heard or mirrored one the most that shows."""
    mood: str = ""
    """A lean that is added to what is heard or mirrored: a name, and :0..1 behind it how much (else .2), or empty."""
    head: Literal["hmm", "rules", "still"] = "rules"
    head_strength: float = Field(1.0, ge=0, le=2)
    gaze_strength: float = Field(1.0, ge=0, le=2)
    jaw: float = Field(1.0, ge=0, le=2)
    """How far the jaw opens in speech: 0 = mumbles, 2 = enunciates."""
    lips: float = Field(1.0, ge=0, le=2)
    """How much the lips take part."""
    mouth: Literal["auto", "voice", "camera", "both"] = "auto"
    """Who moves the mouth where a camera watches: auto = the voice while it speaks, else the camera; both = by how sure
    each of them is."""
    micro_gain: float = Field(1.0, ge=1, le=10)
    """How much a camera's movements of up to 200 ms that are too small to notice are enlarged; 1 = not."""
    seed: int = 0
    calibration: str = "auto"
    """Whose head, voice and resting face to begin with, in place of what ``head`` says unless that is still: the name
    of a calibration; none = nobody's; auto = live the one in use (`avatar calibrate`), offline nobody's."""

    @field_validator("mood")
    @classmethod
    def _mood(cls, text: str) -> str:
        named(text)
        return text


class OutputTable(Table):
    sinks: tuple[str, ...] = ("webrtc",)
    """webrtc, whip, janus, recorder, virtual_camera, virtual_microphone, speaker, parameters, null, those of the tables
    below (vmc, vrchat, vtube_studio, ifacialmocap, live_link, robot, ros, furhat, servo), or plug-ins' names."""
    microphone_device: str = ""
    """The output device that other programs record from (a null sink, VB-Cable, BlackHole)."""
    speaker_device: str = ""
    record_to: str = ""
    """File of the recorder sink; empty = a new file in the recordings folder."""
    notice: Literal["none", "tone"] = "none"
    """tone: three soft tones at the start and once a minute, for those who hear and do not see that it is generated."""
    parameters_port: int = Field(8082, ge=1, le=65535)
    whip_url: str = ""
    """Where the sink whip publishes to, with :attr:`publish_token` as the bearer token."""
    janus_url: str = ""
    """Where the sink janus publishes to, as in ws://127.0.0.1:8188, with :attr:`publish_token` as the room's pin."""
    janus_room: int = Field(1234, ge=1)
    publish_token: str = ""


class ServerTable(Table):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    token: str = ""
    """What others must know who use this server; needed where ``host`` is not this computer alone."""
    origins: tuple[str, ...] = ()
    """Foreign pages that may use WHIP and WHEP with the token, as in https://example.org."""
    ice: tuple[str, ...] = ()
    """STUN and TURN servers that WHIP and WHEP clients are told of, as in stun:stun.example.org:3478."""
    turn_secret: str = ""
    """Shared with the TURN servers among them (coturn: static-auth-secret): clients get credentials for an hour."""
    viewers: int = Field(100, ge=1, le=10_000)
    """Pages and programs that may be connected at the same time, to each session."""
    workers: int = Field(0, ge=0, le=10_000)
    """Sessions at the same time, each in a process of its own; 0 = one session, in this process."""
    cores: float = Field(0.0, ge=0)
    """That all sessions may use together; 0 = all there are. What one takes is measured at the start."""
    idle_s: float = Field(60.0, ge=1)
    """A session to which nobody is connected for so long ends."""
    drain_s: float = Field(10.0, ge=0)
    """When the program is told to end, those who are connected have so long."""
    cluster: str = ""
    """Where sessions run: empty = on this machine; auto or an address = as actors of that Ray cluster."""


class StoreTable(Table):
    url: str = "sqlite"
    """Where avatars, calibrations, settings and consents are kept: sqlite = in the user's own data folder, or
    postgresql://HOST/DATABASE for several hosts (the password in PGPASSWORD or ~/.pgpass)."""


class Config(Table):
    avatar: AvatarTable = AvatarTable()
    input: InputTable = InputTable()
    sync: SyncTable = SyncTable()
    face: FaceTable = FaceTable()
    output: OutputTable = OutputTable()
    server: ServerTable = ServerTable()
    store: StoreTable = StoreTable()
    parameters: StateTable = StateTable()
    vmc: VmcTable = VmcTable()
    vrchat: VrchatTable = VrchatTable()
    vtube_studio: VtubeStudioTable = VtubeStudioTable()
    ifacialmocap: IFacialMocapTable = IFacialMocapTable()
    live_link: LiveLinkTable = LiveLinkTable()
    robot: RobotTable = RobotTable()
    ros: RosTable = RosTable()
    furhat: FurhatTable = FurhatTable()
    servo: ServoTable = ServoTable()


def secrets_of(config: Config) -> tuple[str, ...]:
    """What must never be read in a log; some may be empty."""
    try:
        password = urlsplit(config.store.url).password or ""
    except ValueError:
        password = ""
    return config.server.token, config.server.turn_secret, config.output.publish_token, password


class Loaded:
    """A configuration and where each value came from."""

    def __init__(self, config: Config, origins: Mapping[str, str]) -> None:
        self.config = config
        self.origins = origins

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """``(key, value, origin)`` of every value."""
        for table, content in self.config:
            for key, value in content:
                name = f"{table}.{key}"
                yield name, value, self.origins.get(name, "default")


def find(name: str | Path) -> Path:
    """A file by path, or one of the shipped ones by name (``webcam.toml`` or ``webcam``). Raises ConfigError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = Path(str(files("avatar.configs"))) / (path.name if path.suffix else f"{path.name}.toml")
    if path.parent == Path(".") and shipped.is_file():
        return shipped
    known = ", ".join(sorted(p.name for p in shipped.parent.glob("*.toml")))
    raise ConfigError(f"no configuration file {name}; shipped ones: {known}")


def load(file: str | Path | None = None, settings: Iterable[str] = ()) -> Loaded:
    """Defaults, then ``file``, then ``settings`` (``table.key=value``, the value in TOML or a bare word).

    Raises ConfigError with one line that names the key, what is wrong and, for an unknown key, the known ones.
    """
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}

    def put(table: str, key: str, value: object, origin: str) -> None:
        values.setdefault(table, {})[key] = value
        origins[f"{table}.{key}"] = origin

    if file is not None:
        path = find(file)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from error
        except RecursionError:
            raise ConfigError(f"{path}: nested too deep") from None
        for table, keys in content.items():
            if not isinstance(keys, dict):
                raise ConfigError(f"{path}: {table} must be a table, as in [{table}]")
            for key, value in keys.items():
                put(table, key, value, str(path))
    for setting in settings:
        name, equals, text = setting.partition("=")
        table, dot, key = name.strip().partition(".")
        if not (equals and dot and table and key):
            raise ConfigError(f"--set {setting}: write table.key=value, for example avatar.fps=25")
        put(table, key, _value(text.strip()), "--set")
    try:
        return Loaded(Config.model_validate(values), origins)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins)) from error


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors()[0]
    place = [str(p) for p in first["loc"]]
    name = ".".join(place)
    where = next((f"{o}: " for key, o in origins.items() if name.startswith(key) or key.startswith(f"{name}.")), "")
    if first["type"] != "extra_forbidden":
        return f"{where}{name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
    tables = Config.model_fields
    table = tables.get(place[0])
    known = tables if table is None or table.annotation is None else table.annotation.model_fields
    return f"{where}unknown key {name}; known here: {', '.join(known)}"
