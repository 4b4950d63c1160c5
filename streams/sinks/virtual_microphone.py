"""The session's sound as a microphone for other programs.

A virtual microphone is a sound output whose signal other programs can choose as their input: on Linux a null sink of
PulseAudio or PipeWire (made here, and removed at the end), on macOS BlackHole, on Windows VB-Cable.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import ClassVar

from avatar.errors import DeviceError
from avatar.streams import devices
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.speaker import SpeakerSink

log = logging.getLogger(__name__)

SINK = "avatar_sound"
SOURCE = "avatar_microphone"
CABLES = ("BlackHole", "CABLE Input", "VB-Cable", "VoiceMeeter Input")
"""Names, or beginnings of them, of the usual virtual cables."""


class VirtualMicrophoneSink(SpeakerSink):
    """Plays into a virtual cable.

    :param device: None = make or find one; else as in `avatar devices`, for instance ``pulse:my_null_sink``.
    """

    name: ClassVar[str] = "virtual_microphone"

    def __init__(self, device: str | None = None) -> None:
        super().__init__(device)
        self._modules: list[str] = []
        self.microphone = ""
        """What other programs call it; empty while closed or where only the user knows."""

    async def open(self, form: StreamFormat) -> None:
        device = self._device or await asyncio.to_thread(self._find)
        try:
            await self._open_device(device, form.audio_rate)
        except BaseException:
            await asyncio.to_thread(self._unload)
            raise

    def _find(self) -> str:
        if sys.platform == "linux":
            return self._make()
        for cable in CABLES:
            for found in devices.speakers():
                if cable.lower() in found.name.lower():
                    self.microphone = found.name
                    return found.id
        product = (
            "BlackHole (brew install blackhole-2ch)" if sys.platform == "darwin" else "VB-Cable (vb-audio.com/Cable)"
        )
        raise DeviceError(f"no virtual cable found; install {product}, or name one of `avatar devices`")

    def _make(self) -> str:
        sinks = devices.pactl("list", "short", "sinks")
        if sinks is None:
            raise DeviceError(
                "a virtual microphone needs PulseAudio or PipeWire and its pactl; "
                "start the sound server, and: apt install pulseaudio-utils"
            )
        names = {line.split("\t")[1] for line in sinks.splitlines() if "\t" in line}
        if SINK not in names:  # else it was left by a session that was killed
            self._load("module-null-sink", f"sink_name={SINK}", f"sink_properties=device.description={SINK}")
            # Many programs hide monitors from their list of microphones, so the monitor gets a name of its own.
            self._load(
                "module-remap-source",
                f"master={SINK}.monitor",
                f"source_name={SOURCE}",
                f"source_properties=device.description={SOURCE}",
            )
        self.microphone = SOURCE
        log.info("virtual microphone: choose %s in the other program", SOURCE)
        return f"pulse:{SINK}"

    def _load(self, *module: str) -> None:
        number = devices.pactl("load-module", *module)
        if number is None:
            self._unload()
            raise DeviceError(f"the sound server refused {module[0]}; try: pactl load-module {' '.join(module)}")
        self._modules.append(number.strip())

    def _unload(self) -> None:
        while self._modules:
            devices.pactl("unload-module", self._modules.pop())
        self.microphone = ""

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(self._unload)
