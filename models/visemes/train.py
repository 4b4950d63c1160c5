"""``avatar train visemes``: corpus to features to network to ONNX file to thresholds.

Training is by the clock, as the machine's speed is not known: the learning rate falls along a cosine over ``minutes``.
A checkpoint every two minutes lets ``resume`` go on where a run was stopped. Several workers share one set of weights
without locks (Niu et al. 2011, "Hogwild!"). Needs torch (``vultus[train]``).
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import queue
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from avatar.core.facs import VISEME_INDEX
from avatar.models.run import Run, has_bfloat16
from avatar.models.visemes.dataset import Item
from avatar.models.visemes.model import Shape, VisemeNet
from avatar.models.visemes.muon import Muon
from avatar.models.visemes.sampler import Batch, Sampler

log = logging.getLogger(__name__)

BATCH = 16
RATE, MUON_RATE = 3e-3, 5e-3
"""Of AdamW for the outer layers and the biases, and of Muon for the weights of the trunk."""
WEIGHT_DECAY = 1e-2
WARM_UP = 40
CALM_RATE, CALM_STRENGTH = 0.35, 0.45
"""Of the last phase: share of the learning rate, and of the disturbances."""
CHECKPOINT_S = 120.0
HEAD_WEIGHTS: Mapping[int, float] = {0: 0.25, 2: 0.4, 4: 1.0, 14: 1.0}
"""The two that are used by default count most; they alone learn the phones too."""
PRESS_GAIN, PRESS_POSITIVE, PHONE_GAIN, JAW_GAIN, ROUND_GAIN = 2.0, 2.0, 0.3, 1.0, 0.5
_PP, _FF = VISEME_INDEX["PP"], VISEME_INDEX["FF"]


@dataclass(frozen=True, slots=True)
class Tensors:
    """A :class:`Batch` for torch."""

    features: Tensor
    visemes: Tensor
    curves: Tensor
    weights: Tensor
    phones: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Tensors:
        return cls(
            torch.from_numpy(batch.features), torch.from_numpy(batch.visemes), torch.from_numpy(batch.curves),
            torch.from_numpy(batch.weights), torch.from_numpy(batch.phones),
        )  # fmt: skip


def shifted(x: Tensor, places: int) -> tuple[slice, slice]:
    """Slices of a head's output and of the truth that belong together: place i is about hop i - places."""
    hops = x.shape[-1]
    return slice(max(0, places), hops + min(0, places)), slice(max(0, -places), hops - max(0, places))


def head_loss(out: Tensor, phones: Tensor, truth: Tensors, ahead: int) -> tuple[Tensor, dict[str, float]]:
    """Of the head for a look-ahead of ``ahead`` hops.

    :param out: (n, 18, hops). :param phones: (n, classes, hops).
    """
    said, true = shifted(out, ahead - 1)
    out, phones = out[:, :, said], phones[:, :, said]
    visemes, curves = truth.visemes[:, :, true], truth.curves[:, :, true]
    sure, sure_press = truth.weights[:, 0, true], truth.weights[:, 1, true]
    total = sure.sum() + 1e-6
    cross = -(visemes * functional.log_softmax(out[:, :15], dim=1)).sum(dim=1)
    # Lips that touch are what the eye checks, and f and v are rare; silence is easy and common.
    emphasis = 1 + visemes[:, _PP] + 2 * visemes[:, _FF] - 0.5 * visemes[:, 0]
    viseme = (cross * sure * emphasis).sum() / total
    jaw = (functional.binary_cross_entropy_with_logits(out[:, 15], curves[:, 0], reduction="none") * sure).sum() / total
    rounding = functional.binary_cross_entropy_with_logits(out[:, 16], curves[:, 1], reduction="none")
    rounding = (rounding * sure).sum() / total
    press = functional.binary_cross_entropy_with_logits(
        out[:, 17], curves[:, 2], reduction="none", pos_weight=torch.tensor(PRESS_POSITIVE)
    )
    press = (press * sure_press).sum() / total
    loss = viseme + JAW_GAIN * jaw + ROUND_GAIN * rounding + PRESS_GAIN * press
    if HEAD_WEIGHTS.get(ahead, 1.0) == 1.0:
        named = truth.phones[:, true]
        phone = functional.cross_entropy(phones, named, ignore_index=-1, reduction="none")
        loss = loss + PHONE_GAIN * (phone * sure).sum() / total
    return loss, {"viseme": viseme.item(), "press": press.item(), "jaw": jaw.item()}


def total_loss(net: VisemeNet, truth: Tensors) -> tuple[Tensor, dict[str, float]]:
    """Over all heads; the second is of the head that is live by default."""
    loss = torch.zeros(())
    seen: dict[str, float] = {}
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        heads = net(truth.features)
    for ahead, (out, phones) in heads.items():
        part, parts = head_loss(out.float(), phones.float(), truth, ahead)
        loss = loss + HEAD_WEIGHTS.get(ahead, 1.0) * part
        if ahead == 4 or not seen:
            seen = parts
    return loss, seen


def make_optimizers(net: VisemeNet) -> list[tuple[torch.optim.Optimizer, float]]:
    """Each with its learning rate: Muon for the weights of the trunk, AdamW for the rest."""
    hidden = [*net.first.parameters(), *net.blocks.parameters()]
    inner = [p for p in hidden if p.ndim > 1]
    known = {id(p) for p in inner}
    others = [p for p in net.parameters() if id(p) not in known]
    return [
        (Muon(inner, MUON_RATE, weight_decay=WEIGHT_DECAY), MUON_RATE),
        (torch.optim.AdamW(others, RATE, weight_decay=0.0), RATE),
    ]


def schedule(done: float, steps: int) -> float:
    """Share of the full learning rate: a cosine over the run, after a warm-up of a worker's first steps."""
    return min(1.0, (steps + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a run is."""

    began: float
    """As of :func:`time.monotonic`, at zero minutes spent."""
    minutes: float

    @property
    def done(self) -> float:
        """0 to 1 and beyond."""
        return (time.monotonic() - self.began) / (60 * self.minutes)


def work(net: VisemeNet, sampler: Sampler, clock: Clock, rate: float = 1.0) -> Generator[dict[str, float], None, None]:
    """Train ``net`` until the clock says that it is enough; yields the parts of the loss after each step."""
    optimizers = make_optimizers(net)
    net.train()
    steps = 0
    while (done := clock.done) < 1:
        share = rate * schedule(done, steps)
        for optimizer, full in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = full * share
        loss, parts = total_loss(net, Tensors.of(sampler.batch(BATCH)))
        net.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        for optimizer, _ in optimizers:
            optimizer.step()
        steps += 1
        yield {"loss": loss.item(), **parts}


def _worker(net: VisemeNet, sampler: Sampler, clock: Clock, rate: float, results: Any) -> None:
    torch.set_num_threads(1)
    for parts in work(net, sampler, clock, rate):
        results.put(parts)


class Trainer(Run):
    """Trains the viseme network.

    :param folder: of checkpoint.pt and log.csv.
    :param every: steps from one line of the log to the next.
    """

    def __init__(
        self, items: Sequence[Item], shape: np.ndarray, size: Shape, folder: Path, seed: int = 0, every: int = 25
    ) -> None:
        torch.manual_seed(seed)
        self.size, self.shape = size, shape
        self.net = VisemeNet(size, dropout=0.05)
        super().__init__(self.net, folder, every)
        self._items, self._seed = items, seed

    def state(self) -> dict[str, Any]:
        own = {"net": self.net.state_dict(), "shape": torch.from_numpy(self.shape), "size": asdict(self.size)}
        return super().state() | own

    def resume(self) -> None:
        """Go on from the checkpoint. Momentum is built up anew; what the network sees first stays as it was."""
        state = self.load()
        self.net.load_state_dict(state["net"])
        self.shape = state["shape"].numpy()

    def run(self, minutes: float, workers: int = 1, most_steps: int | None = None) -> None:
        """Train until ``minutes`` are spent in all, or ``most_steps`` are made in all."""
        self._train(Clock(time.monotonic() - self.spent, minutes), workers, most_steps)

    def settle(self, minutes: float, workers: int = 1) -> None:
        """Go on for ``minutes`` more from the averaged weights, with smaller steps and a calmer world."""
        self.net.load_state_dict(self.average.state)
        self._train(Clock(time.monotonic(), minutes), workers, None, CALM_RATE, CALM_STRENGTH)

    def _train(
        self, clock: Clock, workers: int, most_steps: int | None, rate: float = 1.0, strength: float = 1.0
    ) -> None:
        seeds = [1000 * (self._seed + 1) + self.steps + k for k in range(workers)]
        samplers = [Sampler(self._items, self.shape, seed, strength=strength) for seed in seeds]
        before = self.spent - (time.monotonic() - clock.began)
        saved = time.monotonic()
        steps = work(self.net, samplers[0], clock, rate) if workers == 1 else self._shared(samplers, clock, rate)
        with contextlib.closing(steps):
            for parts in steps:
                self.spent = before + time.monotonic() - clock.began
                self.count(parts)
                if time.monotonic() - saved > CHECKPOINT_S:
                    self.save()
                    saved = time.monotonic()
                if most_steps is not None and self.steps >= most_steps:
                    break
        self.save()

    def _shared(
        self, samplers: Sequence[Sampler], clock: Clock, rate: float
    ) -> Generator[dict[str, float], None, None]:
        """The steps of several processes that work on the same weights."""
        self.net.share_memory()
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        processes = [
            context.Process(target=_worker, args=(self.net, sampler, clock, rate, results), daemon=True)
            for sampler in samplers
        ]
        for process in processes:
            process.start()
        try:
            while any(process.is_alive() for process in processes):
                with contextlib.suppress(queue.Empty):
                    yield results.get(timeout=1.0)
        finally:
            for process in processes:
                process.terminate()


def load_net(checkpoint: Path) -> tuple[VisemeNet, np.ndarray]:
    """The averaged network of a checkpoint and the spectrum that its normaliser begins with."""
    state: Mapping[str, Any] = torch.load(checkpoint, weights_only=True)
    size: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in state["size"].items()}
    net = VisemeNet(Shape(**size))
    net.load_state_dict(state["average"])
    net.eval()
    return net, state["shape"].numpy()
