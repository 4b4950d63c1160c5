"""From views of clips to the classifier that ships: which clips count how much, and how it is put together."""

from __future__ import annotations

import numpy as np

from avatar.analysis.emotion import CLASSES, EMBEDDING
from avatar.core.types import F32
from avatar.models.emotion.clips import Views
from avatar.models.emotion.linear import CLIP, Linear, Samples, fit, scale, standardised, without_speakers

DECAYS = (3e-5, 1e-4, 3e-4)
"""Of which the training speakers choose one."""
PLAIN_SHARE = 0.6
"""How much of the mixture learnt from clean recordings alone; the rest knows pieces and other sessions as well."""
ROBUST_WEIGHT = 0.4
"""How much a view of a clip in another session counts."""


def classifier(views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray, decay: float) -> Linear:
    """What the shipped classifier learns from the clips ``some`` (n,) bool: the mean of one that knows clean recordings
    and one that also knows pieces, rooms, noises and microphones."""
    mean, std = scale(views.plain[some])
    plain = fit(_plain(views, labels, speakers, some), mean, std, decay, len(CLASSES))
    if not len(views.sessions):
        return plain
    robust = fit(_robust(views, labels, speakers, some), mean, std, decay / 3, len(CLASSES))
    return Linear.mixed([(PLAIN_SHARE, plain), (1 - PLAIN_SHARE, robust)])


def _plain(views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray) -> Samples:
    return Samples(views.plain[some], labels[some], speakers[some], np.ones(int(some.sum())))


def _robust(views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray) -> Samples:
    n = int(some.sum())
    parts = [
        _plain(views, labels, speakers, some),
        Samples(views.pieces[some], labels[some], speakers[some], np.full(n, 0.5)),
    ]
    for copy in range(len(views.sessions)):
        group = np.char.add(speakers[some], f" in session {copy}")
        for view in (views.sessions[copy], views.session_pieces[copy]):
            parts.append(Samples(view[some], labels[some], group, np.full(n, ROBUST_WEIGHT)))
    return Samples.joined(parts)


def choose_decay(views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray) -> float:
    """The decay at which the clean half of the classifier knows each speaker of ``some`` best who was left out."""
    found = {}
    for decay in DECAYS:
        scores = []
        for speaker in np.unique(speakers[some]):
            inside, left = some & (speakers != speaker), some & (speakers == speaker)
            mean, std = scale(views.plain[inside])
            model = fit(_plain(views, labels, speakers, inside), mean, std, decay, len(CLASSES))
            answers = model.answers(views.plain[left])
            shift = (answers - model.means[labels[left]]).sum(axis=0) / (int(left.sum()) + 6.0)
            scores.append(recall(labels[left], (answers - shift + model.bias).argmax(axis=1)))
        found[decay] = float(np.mean(scores))
    return max(found, key=lambda decay: found[decay])


def recall(labels: np.ndarray, said: np.ndarray) -> float:
    """Unweighted average recall over the classes that there are."""
    return float(np.mean([np.mean(said[labels == c] == c) for c in np.unique(labels)]))


def embedding(views: Views, labels: np.ndarray, speakers: np.ndarray, model: Linear) -> tuple[F32, F32]:
    """Weights (d, EMBEDDING) and class means (classes, EMBEDDING) of the principal components of the manner of
    speaking: standardised clips without their speakers, each component scaled so that a standard deviation is 0.7."""
    x = standardised(views.plain, model.mean, model.std)
    x, means = without_speakers(x, labels, speakers, len(CLASSES))
    _, sizes, rows = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    weights = rows[:EMBEDDING].T / (sizes[:EMBEDDING] / np.sqrt(len(x))) * 0.7
    # The sign of a component is arbitrary: let its largest weight be positive, so that training again gives the same.
    weights *= np.sign(weights[np.abs(weights).argmax(axis=0), np.arange(EMBEDDING)])
    return weights.astype(np.float32), (means @ weights).astype(np.float32)


assert CLIP == 5.0  # avatar.analysis.emotion clips at the same place
