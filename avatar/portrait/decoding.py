"""Decoding a stranger's photo in a process of its own, with limits on memory and time.

Image decoders are large C libraries, and an upload is whatever somebody sends. The child gets the bytes, gives pixels
or one line, and cannot write files; when it takes too much it is killed, and the live picture has noticed nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from avatar.core.types import U8
from avatar.errors import PhotoError
from avatar.portrait.photo import MAX_SIDE, read_photo

MEMORY = 1280 * 2**20
"""Bytes beyond what the child has when it is ready: 40 megapixels with transparency need most of it."""
CPU_S, WALL_S = 20, 40
_ONE = threading.Lock()
"""One at a time: ten uploads at once must not take ten times the memory."""
_ANSWER = MAX_SIDE * MAX_SIDE * 3 + 4096


def read_apart(source: Path | bytes) -> U8:
    """:func:`avatar.portrait.photo.read_photo` in a child. Raises PhotoError (also "large": too much memory or time).

    Where the system knows no such limits (Windows) only the time is limited.
    """
    if isinstance(source, Path):
        source = source.read_bytes()
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    with _ONE:
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__], input=source, capture_output=True, timeout=WALL_S,
                env={**os.environ, **threads},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PhotoError("the photo takes too long to read; save it as JPEG", "large") from None
    head, _, pixels = done.stdout[:_ANSWER].partition(b"\n")
    try:
        said = json.loads(head)
        if "error" in said:
            raise PhotoError(str(said["error"]), str(said["code"]))
        height, width = (int(side) for side in said["shape"])
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()
    except (ValueError, KeyError, TypeError):  # it was killed, or died of the picture
        raise PhotoError("the photo takes too much memory or time to read; save it as JPEG", "large") from None


def limit(memory: int, cpu_s: int) -> None:
    """Bound what this process may take from now on, where the system can."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(OSError):  # forbidden in some containers; then it takes its share like others
        os.nice(10)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    bounds = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    if pages:
        bounds[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
    for what, most in bounds.items():
        # A lower bound that was there already stays: it may not be raised.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    """The child: bytes on standard input, one line of JSON and the pixels on standard output."""
    from PIL import Image

    data = sys.stdin.buffer.read()
    Image.init()  # loads what it needs before it may not
    limit(MEMORY, CPU_S)
    try:
        rgb = read_photo(data)
        head: dict[str, object] = {"shape": rgb.shape[:2]}
        out = np.ascontiguousarray(rgb).tobytes()
    except PhotoError as error:
        head, out = {"error": str(error), "code": error.code}, b""
    except MemoryError:
        head, out = {"error": "the photo takes too much memory to read; save it as JPEG", "code": "large"}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + out)


if __name__ == "__main__":
    main()
