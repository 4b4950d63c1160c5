"""Learning the folds that the head engine draws (:mod:`avatar.engines.head_folds`).

``build(data, out)`` makes the file that :class:`avatar.engines.head_folds.FoldMaps` loads.
"""

from avatar.models.folds.learning import build

__all__ = ["build"]
