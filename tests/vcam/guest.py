"""Runs inside the virtual machine: writes pictures with our sink to a real v4l2loopback device and reads them back with
our camera source. Prints one line of JSON; the exit status says whether all is well."""

import asyncio
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from avatar import doctor  # noqa: E402
from avatar.core.clock import SessionClock  # noqa: E402
from avatar.core.types import SECOND, AvatarFrame, FaceState, Ns, VideoFrame, freeze  # noqa: E402
from avatar.streams import devices  # noqa: E402
from avatar.streams.base import StreamFormat  # noqa: E402
from avatar.streams.sinks.virtual_camera import VirtualCameraSink  # noqa: E402
from avatar.streams.sources.camera import CameraSource  # noqa: E402

DEVICE = "/dev/video9"
SIZE, FPS, FRAMES = 256, 10, 40
COLOURS = ((200, 40, 40), (40, 180, 60), (40, 60, 200), (230, 190, 160))


def picture(number: int) -> np.ndarray:
    """A frame whose number stands in its upper half, eight black or white columns, above four patches of colour."""
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            pixels[: SIZE // 2, bit * SIZE // 8 : (bit + 1) * SIZE // 8] = 255
    for i, colour in enumerate(COLOURS):
        pixels[SIZE // 2 :, i * SIZE // 4 : (i + 1) * SIZE // 4] = colour
    return freeze(pixels)


def number_of(pixels: np.ndarray) -> int:
    columns = pixels[: SIZE // 2].reshape(SIZE // 2, 8, SIZE // 8, 3).mean(axis=(0, 2, 3))
    return sum(1 << bit for bit in range(8) if columns[bit] > 128)


def colour_error(pixels: np.ndarray) -> float:
    margin = SIZE // 32
    patches = [
        pixels[SIZE // 2 + margin : -margin, i * SIZE // 4 + margin : (i + 1) * SIZE // 4 - margin].mean(axis=(0, 1))
        for i in range(4)
    ]
    return float(np.abs(np.array(patches) - COLOURS).max())


async def write(sink: VirtualCameraSink, clock: SessionClock, sent: dict[int, Ns]) -> None:
    begin = clock.now()
    for i in range(FRAMES):
        await clock.sleep_until(Ns(begin + i * SECOND // FPS))
        pixels = picture(i + 1)
        sent[i + 1] = clock.now()
        await sink.video(AvatarFrame(sent[i + 1], pixels, FaceState(sent[i + 1])))


async def read(source: CameraSource, frames: list[VideoFrame]) -> None:
    async for frame in source.items():
        frames.append(frame)


async def main() -> dict[str, object]:
    clock, sent, frames = SessionClock(), {}, []
    before = [d.name for d in devices.virtual_cameras()]
    check = doctor.virtual_camera()
    sink = VirtualCameraSink()  # finds the device by itself
    await sink.open(StreamFormat(size=SIZE, fps=FPS))
    device = sink.device
    await sink.video(AvatarFrame(Ns(0), picture(0), FaceState(Ns(0))))  # with exclusive_caps it becomes a camera now
    source = CameraSource(device, (SIZE, SIZE), FPS)
    await source.open(clock)
    reading = asyncio.create_task(read(source, frames))
    await write(sink, clock, sent)
    await asyncio.sleep(0.5)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await source.close()
    await sink.close()
    numbers = [number_of(f.pixels) for f in frames]
    delays = [(f.pts - sent[n]) / 1e6 for f, n in zip(frames, numbers, strict=True) if n in sent]
    return {
        "device": device,
        "listed": before,
        "doctor": f"{check.status}: {check.detail}",
        "sent": FRAMES,
        "received": len(set(numbers) & set(sent)),
        "in_order": numbers == sorted(numbers),
        "delay_ms_p50": round(float(np.median(delays)), 1) if delays else None,
        "colour_error": round(max(colour_error(f.pixels) for f in frames), 1) if frames else None,
    }


if __name__ == "__main__":
    begun = time.monotonic()
    result = asyncio.run(main())
    result["seconds"] = round(time.monotonic() - begun, 1)
    good = (
        result["device"] == DEVICE
        and result["listed"] == ["Avatar"]
        and result["received"] >= FRAMES * 3 // 4  # the machine is emulated and slow; a camera shows the latest picture
        and result["in_order"]
        and result["colour_error"] < 12
    )
    print(json.dumps({"virtual_camera": {**result, "ok": good}}), flush=True)
    sys.exit(not good)
