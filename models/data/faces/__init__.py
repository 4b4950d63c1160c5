"""Readers for the licensed data sets of faces: CK+, RaFD, CAS(ME)^3, Oulu-CASIA NIR&VIS and CAS-PEAL.

None of them comes with the program and none may be passed on: whoever has a licence points ``--data`` at the folder.
The contract is :mod:`.sample`; which sets there are and where to apply, :mod:`.catalogue`.
"""

from avatar.models.data.faces.catalogue import CATALOGUE, open_dataset, recognise
from avatar.models.data.faces.sample import FaceDataset, Sample, Unit, View, subject_folds

__all__ = ["CATALOGUE", "FaceDataset", "Sample", "Unit", "View", "open_dataset", "recognise", "subject_folds"]
