"""Does the face smile? A judge that learns from real photos of other people: HOG and a linear SVM.

Histograms of oriented gradients: Dalal & Triggs (2005); scikit-image's and scikit-learn's implementations.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32, U8
from avatar.models.expression.metrics import folds

FOLDS = 10
_SIDE = 128
_C = 0.1
"""On real photos .01 to 1 are equally accurate; below, the judge calls too many real smiles neutral."""


def describe(aligned: U8) -> F32:
    """Features of an aligned picture (256, 256, 3)."""
    from skimage.feature import hog

    grey = cv2.cvtColor(cv2.resize(aligned, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    found = hog(grey, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), block_norm="L2-Hys")
    return np.asarray(found, np.float32)


class SmileJudge:
    """Trained in folds: whoever is judged was not among those it learnt from.

    :param names: of the people, at least two.
    :param neutral: features of each person's real neutral photo.
    :param smile: features of each person's real smile.
    """

    def __init__(self, names: Sequence[str], neutral: Sequence[F32], smile: Sequence[F32]) -> None:
        if len(set(names)) < 2:
            raise ValueError("a judge that learns from others needs two people")
        self._fold = np.array(folds(names, FOLDS))
        known = np.concatenate([neutral, smile]).astype(np.float64)
        label, fold = np.repeat([0, 1], len(names)), np.tile(self._fold, 2)
        # Far more features than photos: the products of the photos are computed once for all folds.
        products = known @ known.T
        self._planes = {
            int(k): _plane(known, products, label, np.flatnonzero(fold != k)) for k in np.unique(self._fold)
        }
        self.accuracy = float(np.mean(np.r_[~self.smiles(neutral), self.smiles(smile)]))
        """On the real photos, each judged by a machine that does not know the person."""

    def smiles(self, features: Sequence[F32]) -> NDArray[np.bool_]:
        """The verdict on one picture of each person, in the order of ``names``."""
        verdicts = []
        for fold, described in zip(self._fold, features, strict=True):
            normal, offset = self._planes[int(fold)]
            verdicts.append(float(normal @ described.astype(np.float64)) + offset > 0)
        return np.array(verdicts)


def _plane(
    known: NDArray[np.float64], products: NDArray[np.float64], label: NDArray[np.integer], used: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float]:
    """Normal and offset of the plane between the classes, from the photos ``used``."""
    from sklearn.svm import SVC

    machine = SVC(kernel="precomputed", C=_C).fit(products[np.ix_(used, used)], label[used])
    return machine.dual_coef_[0] @ known[used[machine.support_]], float(machine.intercept_[0])
