"""From views of clips to the classifier that ships: which clips count how much, and how it is put together."""

from __future__ import annotations

import numpy as np

from avatar.analysis.emotion import CLASSES, EMBEDDING
from avatar.core.types import F32
from avatar.models.emotion.clips import Views
from avatar.models.emotion.families import prosody
from avatar.models.emotion.linear import CLIP, Linear, Samples, fit, fits, scale, standardised, without_speakers

DECAYS = (3e-5, 1e-4, 3e-4)
"""Of which the training speakers choose one."""
SHARES = {"clean": 0.4, "sessions": 0.2, "prosody, clean": 0.2, "prosody, sessions": 0.3}
"""Of the parts of the mixture: what learnt from clean recordings or also from pieces and other sessions, of all
functionals or of prosody alone. Settled by what was lost when the other sex or another session was judged."""
PROSODY_DECAY = 3e-3
"""Of prosody in sessions: the fewer functionals, the surer the answers, so they are kept smaller."""
ROBUST_WEIGHT = 0.4
"""How much a view of a clip in another session counts."""


def classifier(views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray, decay: float) -> Linear:
    """What the shipped classifier learns from the clips ``some`` (n,) bool: a mixture of four, see :data:`SHARES`."""
    mean, std = scale(views.plain[some])
    clean, everything = _plain(views, labels, speakers, some), np.ones(views.plain.shape[1], bool)
    own = prosody() if views.plain.shape[1] == len(prosody()) else everything
    parts = {
        "clean": fit(clean, mean, std, decay, len(CLASSES)),
        "prosody, clean": fit(clean, mean, std, decay, len(CLASSES), columns=own),
    }
    if len(views.sessions):
        robust = _robust(views, labels, speakers, some)
        parts["sessions"] = fit(robust, mean, std, decay, len(CLASSES))
        parts["prosody, sessions"] = fit(robust, mean, std, PROSODY_DECAY, len(CLASSES), columns=own)
    return Linear.mixed([(SHARES[name], part) for name, part in parts.items()])


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


Known = dict[frozenset[str], list[Linear]]
"""Speakers -> what was learnt from them, for each decay."""


def choose_decay(
    views: Views, labels: np.ndarray, speakers: np.ndarray, some: np.ndarray, known: Known | None = None
) -> float:
    """The decay at which the clean half of the classifier knows each speaker of ``some`` best who was left out.

    :param known: filled, and used by the next call on the same clips: leaving one speaker out of those without another
        is the same as the other way round.
    """
    known = {} if known is None else known
    scores: list[list[float]] = []
    for speaker in np.unique(speakers[some]):
        inside, left = some & (speakers != speaker), some & (speakers == speaker)
        who = frozenset(speakers[inside].tolist())
        if who not in known:
            mean, std = scale(views.plain[inside])
            known[who] = fits(_plain(views, labels, speakers, inside), mean, std, DECAYS, len(CLASSES))
        row = []
        for model in known[who]:
            answers = model.answers(views.plain[left])
            shift = (answers - model.means[labels[left]]).sum(axis=0) / (int(left.sum()) + 6.0)
            row.append(recall(labels[left], (answers - shift + model.bias).argmax(axis=1)))
        scores.append(row)
    return DECAYS[int(np.mean(scores, axis=0).argmax())]


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
