"""The parameter outputs by their names in ``output.sinks``: configuration tables to sinks."""

from __future__ import annotations

import time
from pathlib import Path

from avatar.config import Config
from avatar.config_outputs import StateTable
from avatar.core.types import MILLISECOND
from avatar.errors import ConfigError
from avatar.streams.sinks.parameters.base import StateSink
from avatar.streams.sinks.parameters.shaping import Shape

NAMES = ("vmc", "vrchat", "vtube_studio", "ifacialmocap", "live_link", "robot", "ros", "furhat", "servo")


def token_file() -> Path:
    """Where VTube Studio's token is kept."""
    from platformdirs import user_config_path

    return user_config_path("vultus") / "vtube_studio.json"


def shape(table: StateTable) -> Shape:
    """What every table says of rate, smoothing and mirror."""
    return Shape(table.rate, table.smooth_ms, table.mirror)


def make(name: str, config: Config, began: float = 0.0) -> StateSink:
    """The sink of a table; only what it needs is imported.

    :param began: seconds from midnight to the session's zero, for protocols with a time of day.

    Raises ConfigError for what its table cannot mean, DeviceError where a package is missing.
    """
    match name:
        case "vmc":
            from avatar.streams.sinks.parameters.vmc import VmcSink

            return VmcSink(config.vmc.to, shape(config.vmc), config.vmc.clips, config.vmc.eyes == "clips")
        case "vrchat":
            from avatar.streams.sinks.parameters.vrchat import VrchatSink

            table = config.vrchat
            return VrchatSink(table.to, shape(table), table.prefix, table.eyes, table.lids)
        case "vtube_studio":
            from avatar.streams.sinks.parameters.vtube_studio import VtubeStudioSink

            studio = config.vtube_studio
            return VtubeStudioSink(token_file(), studio.address, shape(studio), studio.custom)
        case "ifacialmocap":
            from avatar.streams.sinks.parameters.ifacialmocap import IFacialMocapSink

            return IFacialMocapSink(config.ifacialmocap.to, shape(config.ifacialmocap), config.ifacialmocap.port)
        case "live_link":
            from avatar.streams.sinks.parameters.live_link import LiveLinkSink

            return LiveLinkSink(config.live_link.to, shape(config.live_link), config.live_link.subject, began)
        case "robot":
            from avatar.streams.sinks.parameters.robot import RobotSink, RobotTcpSink

            robot = config.robot
            kind = RobotTcpSink if robot.transport == "tcp" else RobotSink
            return kind(robot.to, shape(robot), robot.format, robot.frame_id)
        case "ros":
            from avatar.streams.sinks.parameters.ros import RosSink

            return RosSink(shape(config.ros), config.ros.namespace, config.ros.frame_id)
        case "furhat":
            from avatar.streams.sinks.parameters.furhat import FurhatSink

            return FurhatSink(config.furhat.address, shape(config.furhat))
        case "servo":
            return _servo(config)
    raise ValueError(name)


def _servo(config: Config) -> StateSink:
    from avatar.streams.sinks.parameters.servo import ServoSink

    table = config.servo
    sink = ServoSink(table.to, shape(table), Path(table.table) if table.table else None, table.format)
    least = sink.least_lead(config.avatar.fps)
    if config.sync.lead_ms < least:
        more = least - config.sync.lead_ms
        raise ConfigError(
            f"sync.lead_ms = {config.sync.lead_ms}: servos with {sink.ahead // MILLISECOND} ms of dead time need "
            f"at least {least}; add {more} to sync.budget_ms too"
        )
    return sink


def time_of_day() -> float:
    """Seconds since midnight, local time: where a timecode begins."""
    now = time.time()
    there = time.localtime(now)
    return there.tm_hour * 3600 + there.tm_min * 60 + there.tm_sec + now % 1
