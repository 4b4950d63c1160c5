"""The one trainer: a killed training that goes on as if nothing had happened, two processes that stay one, curves that
TensorBoard reads."""

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avatar.errors import UsageError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'vultus[train]'")
from torch import nn  # noqa: E402

from avatar.models.recipes.base import Recipe, frozen  # noqa: E402
from avatar.models.recipes.events import EventWriter, crc32c, masked, record  # noqa: E402
from avatar.models.recipes.trainer import Trainer, train  # noqa: E402

ROOT = Path(__file__).parents[2]


class Line(Recipe):
    """Learns y = 3 x - 1 with noise, by a network that also draws random numbers of its own."""

    name = "line"
    steps = 60
    averaged = ("net",)
    sample_every = 20

    @classmethod
    def load(cls, bundle):
        return 3.0

    def networks(self):
        return {"net": nn.Linear(1, 1), "other": nn.Linear(1, 1)}

    def optimizers(self):
        return {"net": torch.optim.Adam(self.net["net"].parameters(), 0.1)}

    def batch(self, random):
        x = random.normal(size=(16, 1)).astype(np.float32)
        return self.tensors(x, (self.material * x - 1).astype(np.float32))

    def step(self, batch, done):
        x, y = batch
        loss = ((self.net["net"](x + 0.01 * torch.randn_like(x)) - y) ** 2).mean()
        self.update("net", loss)
        return {"loss": float(loss.detach())}

    def samples(self, net):
        return np.full((8, 8, 3), 7, np.uint8)

    def write(self, net, target, about):
        target.write_text(str(net["net"].weight.item()))

    @classmethod
    def judge(cls, file, held):
        return {}


def weights(trainer):
    return {k: v.clone() for k, v in trainer.recipe.net.state_dict().items()}


def test_it_learns_and_writes_samples_log_and_curves(tmp_path):
    trainer = Trainer(Line, 3.0, tmp_path)
    trainer.run(150)
    net = trainer.averaged()["net"]
    assert net.weight.item() == pytest.approx(3, abs=0.2)
    assert net.bias.item() == pytest.approx(-1, abs=0.2)
    assert (tmp_path / "samples.png").is_file()
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "minutes,steps,loss"
    assert len(rows) == 1 + 150 // 25
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    whole = Trainer(Line, 3.0, tmp_path / "whole")
    whole.run(60)
    first = Trainer(Line, 3.0, tmp_path / "killed")
    for _ in range(23):  # as far as the checkpoint; what came after it is lost with the process
        first.count(first._step(first.steps / 60))
    first.save()
    for _ in range(9):
        first.count(first._step(first.steps / 60))
    second = Trainer(Line, 3.0, tmp_path / "killed", seed=99)
    assert second.resume()
    assert second.steps == 23
    second.run(60)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(second)[name], value, rtol=0, atol=1e-6)
    for name, value in whole.average.state.items():
        torch.testing.assert_close(second.average.state[name], value, rtol=0, atol=1e-6)
    assert [r["loss"] for r in second.rows] == [r["loss"] for r in whole.rows]


def test_a_checkpoint_that_is_half_written_is_never_there(tmp_path, monkeypatch):
    trainer = Trainer(Line, 3.0, tmp_path)
    trainer.run(25)
    before = trainer.checkpoint.read_bytes()

    def broken(state, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        trainer.save()
    assert trainer.checkpoint.read_bytes() == before
    assert Trainer(Line, 3.0, tmp_path).resume()


def test_another_recipes_checkpoint_is_refused_in_one_line(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    torch.save({"average": {}, "steps": 1, "spent": 0.0, "rows": [], "net": {}, "seed": 0}, tmp_path / "checkpoint.pt")
    with pytest.raises(UsageError, match=r"does not fit this recipe; delete it") as said:
        Trainer(Line, 3.0, tmp_path).resume()
    assert "\n" not in str(said.value)


def test_a_time_budget_ends_it(tmp_path):
    trainer = Trainer(Line, 3.0, tmp_path)
    trainer.run(10**9, minutes=0.005)
    assert 0 < trainer.steps < 10**6
    assert trainer.spent < 5


def test_train_writes_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("avatar.models.recipes.trainer.cache", lambda: tmp_path / "cache")
    made = train(Line, tmp_path, tmp_path / "deep" / "line.txt", steps=5)
    assert made["steps"] == 5
    assert (tmp_path / "deep" / "line.txt").is_file()
    again = train(Line, tmp_path, tmp_path / "deep" / "line.txt", resume=True, steps=8)
    assert again["steps"] == 8


def test_frozen_networks_get_no_gradients_and_are_thawed():
    net = nn.Linear(1, 1)
    with frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
    assert all(p.requires_grad for p in net.parameters())


_TWO = """
import json, os, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_recipes_trainer import Line
from avatar.models.recipes.trainer import Trainer
folder = Path(sys.argv[1])
torch.set_num_threads(1)
trainer = Trainer(Line, 3.0, folder, seed=int(os.environ["RANK"]))  # different weights to begin with
trainer.seed = 0
trainer.run(12)
state = {k: v.tolist() for k, v in trainer.recipe.net.state_dict().items()}
(folder / f"rank{trainer.processes.rank}.json").write_text(json.dumps([state, trainer.processes.count]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # each process imports torch
def test_two_processes_keep_equal_weights(tmp_path):
    """As torchrun starts them: by the environment."""
    script = tmp_path / "two.py"
    script.write_text(_TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(script), str(tmp_path), str(Path(__file__).parent)]
    common = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(command, env=os.environ | common | {"RANK": str(i), "WORLD_SIZE": "2"}, stderr=subprocess.PIPE)
        for i in range(2)
    ]
    try:
        ended = [process.communicate(timeout=250) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], ended[0][1][-2000:]
    first, second = (json.loads((tmp_path / f"rank{i}.json").read_text()) for i in range(2))
    assert first == second
    assert first[1] == 2
    assert (tmp_path / "checkpoint.pt").is_file()


# --- curves


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_an_event_file_is_a_chain_of_checked_records(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalars(7, {"loss/a": 0.5, "loss/b": -2.0})
    writer.picture(8, "samples", b"png", 4, 5)
    content, records, at = writer.path.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        body = content[at + 12 : at + 12 + length]
        assert record(body) == content[at : at + 16 + length]
        records.append(body)
        at += 16 + length
    assert b"brain.Event:2" in records[0]
    assert b"loss/a" in records[1]
    assert struct.pack("<f", -2.0) in records[1]
    assert b"png" in records[2]
    assert masked(b"") == (crc32c(b"") + 0xA282EAD8) & 0xFFFFFFFF


def test_tensorboard_reads_the_curves(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard's own reader; not installed by us"
    )
    writer = EventWriter(tmp_path)
    for step in range(3):
        writer.scalars(step, {"loss/a": step / 2})
    writer.picture(2, "samples", b"\x89PNG", 4, 5)
    read = accumulator.EventAccumulator(str(tmp_path))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss/a")] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert read.Images("samples")[0].encoded_image_string == b"\x89PNG"
