"""Where sound, pictures and states come from and go to: names in a configuration to sources and sinks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar import outputs, plugins
from avatar.config import Config
from avatar.models import registry
from avatar.recordings import new_recording
from avatar.streams.base import Sink, Source

if TYPE_CHECKING:
    from avatar.streams.signaling import PeerHub


def audio_source(name: str, config: Config, hub: PeerHub | None) -> Source[Any] | None:
    """A source of sound by its name in ``input.audio``. Raises UsageError for an unknown one."""
    match name:
        case "silence":
            return None
        case "demo":
            from avatar.streams.sources.speech import SpeechSource
            from avatar.streams.sources.text import load_speech

            return SpeechSource(load_speech(registry.samples_dir() / "demo.ogg"), loop=True)
        case "page":
            assert hub is not None
            return hub.audio_source()
        case "microphone":
            from avatar.streams.sources.microphone import MicrophoneSource

            return MicrophoneSource(config.input.device or None)
        case "websocket":
            from avatar.streams.sources.websocket import WebSocketSource

            return WebSocketSource(port=config.input.websocket_port)
        case "probe":
            from avatar.streams.sources.synthetic import FlashBeepSource

            return FlashBeepSource()
    if Path(name).suffix == ".jsonl":
        from avatar.streams.sources.states_file import StatesSource

        return StatesSource(name)
    if Path(name).suffix:
        from avatar.streams.sources.media_file import MediaFileSource

        return MediaFileSource(Path(name), loop=True)
    return plugins.load("sources", name)()


def video_source(name: str, config: Config) -> Source[Any] | None:
    """A source of pictures by its name in ``input.video``. Raises UsageError for an unknown one."""
    match name:
        case "none" | "page":  # the page's camera comes when the page switches it on
            return None
        case "camera":
            from avatar.streams.sources.camera import CameraSource

            return CameraSource(config.input.camera)
    if Path(name).suffix:
        from avatar.streams.sources.camera import CameraSource

        return CameraSource(f"file:{name}")
    return plugins.load("sources", name)()


def sink(name: str, config: Config, hub: PeerHub | None, began: float, recorder: Callable[[Path], Sink]) -> Sink:
    """An output by its name in ``output.sinks``; ``recorder`` makes the one that writes to a file, which is labelled.

    Raises UsageError for an unknown one.
    """
    output = config.output
    match name:
        case "webrtc":
            assert hub is not None
            return hub.sink
        case "whip" | "janus":
            from avatar.streams.sinks.publish import JanusSink, WhipSink

            ice, token = config.server.ice, output.publish_token
            if name == "whip":
                return WhipSink(output.whip_url, token, ice)
            return JanusSink(output.janus_url, output.janus_room, token, ice=ice)
        case "recorder":
            return recorder(Path(output.record_to) if output.record_to else new_recording())
        case "virtual_camera":
            from avatar.streams.sinks.virtual_camera import VirtualCameraSink

            return VirtualCameraSink()
        case "virtual_microphone":
            from avatar.streams.sinks.virtual_microphone import VirtualMicrophoneSink

            return VirtualMicrophoneSink(output.microphone_device or None)
        case "speaker":
            from avatar.streams.sinks.speaker import SpeakerSink

            return SpeakerSink(output.speaker_device or None)
        case "parameters":
            from avatar.streams.sinks.parameters.websocket import ParameterSink

            return ParameterSink(port=output.parameters_port, shape=outputs.shape(config.parameters))
        case "null":
            from avatar.streams.sinks.null import NullSink

            return NullSink()
    if name in outputs.NAMES:
        return outputs.make(name, config, began)
    return plugins.load("sinks", name)()
