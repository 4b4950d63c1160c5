"""How every network runs here: ONNX Runtime on one processor thread that never spins, beside a live engine's own."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from avatar.errors import ModelFileError


def one_thread_session(path: Path) -> onnxruntime.InferenceSession:
    """A model on one CPU thread. Raises ModelFileError with one line where the file is missing or broken."""
    if not path.is_file():
        raise ModelFileError(f"{path} is missing: install the package again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for every kind of broken file
        raise ModelFileError(f"{path} is not a model that can be read: install the package again") from error
