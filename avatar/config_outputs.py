"""The configuration of the parameter outputs: one table each. What the other program needs: docs/outputs.md."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """A table of the configuration. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StateTable(Table):
    """What every parameter output has."""

    rate: float = Field(0.0, ge=0, le=240)
    """States a second at most; 0 = every state."""
    smooth_ms: float = Field(0.0, ge=0, le=1000)
    """Time constant of the smoothing of this output alone; it lags by as much."""
    mirror: bool = False
    """Swap left and right, as a mirror does."""


class VmcTable(StateTable):
    to: tuple[str, ...] = ("127.0.0.1:39539",)
    """Receivers, host:port."""
    clips: tuple[Literal["vrm0", "vrm1", "perfect_sync"], ...] = ("vrm0",)
    """Which expressions are sent: the presets of VRM 0, those of VRM 1, the 52 of perfect sync."""
    eyes: Literal["bones", "clips"] = "bones"
    """Gaze as rotation of the eye bones, or as the look presets."""


class VrchatTable(StateTable):
    to: tuple[str, ...] = ("127.0.0.1:9000",)
    prefix: str = ""
    """Before v2/ in the avatar's parameters, as FT/."""
    eyes: Literal["center", "left_right", "off"] = "center"
    """Native eye tracking: one direction, one for each eye, or none."""
    lids: bool = True
    """Native lids (EyesClosedAmount)."""


class VtubeStudioTable(StateTable):
    address: str = "auto"
    """ws://host:port, or auto: the one that VTube Studio broadcasts, else this machine's 8001."""
    custom: bool = True
    """Also create the 52 coefficients as parameters of their own (VultusJawOpen and so on)."""


class IFacialMocapTable(StateTable):
    to: tuple[str, ...] = ()
    """Receivers that are sent to unasked; empty = those that ask, as with the phone."""
    port: int = Field(49983, ge=1, le=65535)
    """Where requests come in and where answers go to."""


class LiveLinkTable(StateTable):
    to: tuple[str, ...] = ("127.0.0.1:11111",)
    subject: str = Field("Vultus", min_length=1, max_length=64)
    """The name in Unreal's Live Link window."""


class RobotTable(StateTable):
    to: tuple[str, ...] = ("127.0.0.1:9870",)
    format: Literal["json", "msgpack"] = "json"
    transport: Literal["udp", "tcp"] = "udp"
    frame_id: str = "face"


class RosTable(StateTable):
    namespace: str = "/robot_face"
    """Topics are NAMESPACE/facs and NAMESPACE/expression."""
    frame_id: str = "face"


class FurhatTable(StateTable):
    rate: float = Field(10.0, gt=0, le=30)
    """Gestures a second."""
    address: str = "http://127.0.0.1:54321"


class ServoTable(StateTable):
    to: tuple[str, ...] = ("127.0.0.1:9871",)
    format: Literal["json", "msgpack"] = "json"
    table: str = ""
    """The mapping table (TOML); empty = the example face of 26 servos."""
