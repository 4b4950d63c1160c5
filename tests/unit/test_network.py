"""Where networks run."""

from pathlib import Path

import onnxruntime
import pytest

import avatar.models
from avatar import network

FILE = Path(avatar.models.__file__).parent / "weights" / "matte.onnx"


@pytest.fixture(autouse=True)
def _as_before():
    yield
    network.use_device("auto")


def test_cuda_that_is_not_installed_is_said_once_and_the_cpu_draws(monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [network.CPU])
    network.use_device("cuda")
    assert network.drawing_session(FILE).get_providers() == [network.CPU]
    (record,) = caplog.records
    assert "no CUDA; drawing on the CPU" in record.getMessage()
    assert "onnxruntime-gpu" in record.getMessage()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_that_is_listed_and_does_not_load_is_said(device, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [network.CUDA, network.CPU])
    plain = network.one_thread_session
    monkeypatch.setattr(network, "one_thread_session", lambda path, providers=(network.CPU,): plain(path))
    network.use_device(device)
    assert network.drawing_session(FILE).get_providers() == [network.CPU]
    assert "DOES NOT LOAD" in caplog.text


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_nothing_is_said_where_nothing_was_asked(device, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [network.CPU])
    network.use_device(device)
    network.drawing_session(FILE)
    assert not caplog.records


def test_cpu_does_not_look_for_a_card(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [network.CUDA, network.CPU])
    network.use_device("cpu")
    assert network.drawing_session(FILE).get_providers() == [network.CPU]
