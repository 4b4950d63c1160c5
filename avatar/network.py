"""How every network runs here: ONNX Runtime on one processor thread that never spins, beside a live engine's own.

The networks that draw may run on a graphics card instead (``avatar.device``), where ONNX Runtime for CUDA is installed.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import onnxruntime

from avatar.errors import ModelFileError

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
GPU_FIX = "pip uninstall onnxruntime, then pip install onnxruntime-gpu (both at once break each other), and its CUDA"


_device: Device = "auto"


def use_device(device: Device) -> None:
    """Where :func:`drawing_session` puts the networks that are loaded from now on, in this process."""
    global _device
    _device = device


def drawing_session(path: Path) -> onnxruntime.InferenceSession:
    """A model that draws pictures, on the graphics card where there is a usable one, else on one CPU thread.

    Device (:func:`use_device`) ``cpu`` never looks for a card; ``cuda`` says loudly where there is none, ``auto`` only
    where one is listed and does not load. Either goes on with the CPU. Raises ModelFileError.
    """
    device = _device
    listed = CUDA in onnxruntime.get_available_providers()
    if device == "cpu" or not listed:
        if device == "cuda":
            log.warning("avatar.device = cuda: this ONNX Runtime has no CUDA; drawing on the CPU. To mend: %s", GPU_FIX)
        return one_thread_session(path)
    session = one_thread_session(path, (CUDA, CPU))
    # Where CUDA or cuDNN does not load, ONNX Runtime takes the next provider without an exception.
    if session.get_providers()[0] != CUDA:
        log.warning("CUDA IS LISTED BUT DOES NOT LOAD; drawing on the CPU. To mend: %s", GPU_FIX)
        return one_thread_session(path)
    log.info("%s runs on CUDA", path.name)
    return session


def one_thread_session(path: Path, providers: tuple[str, ...] = (CPU,)) -> onnxruntime.InferenceSession:
    """A model on one CPU thread, or with another of ONNX Runtime's providers first.

    Raises ModelFileError with one line where the file is missing or broken."""
    if not path.is_file():
        raise ModelFileError(f"{path} is missing: install the package again")
    try:
        return onnxruntime.InferenceSession(str(path), _one_thread(), providers=list(providers))
    except Exception as error:  # onnxruntime raises a class of its own for every kind of broken file
        raise ModelFileError(f"{path} is not a model that can be read: install the package again") from error


def session_of(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """A model that is in memory, on one CPU thread. Raises ModelFileError with one line, by ``name``."""
    try:
        return onnxruntime.InferenceSession(content, _one_thread(), providers=[CPU])
    except Exception as error:  # as above
        raise ModelFileError(f"{name} is not a model that can be read; run: avatar models fetch") from error


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
