"""From vectors to the components that are coded: centred, and turned so that few of them carry most of the variance.

A graph is walked by estimates that need only rank well; the last word has the vector itself. So the components that
carry little variance are left out: fewer cache lines a distance. Which to leave out, the principal components of a
sample tell. A random rotation within those that stay gives each about the same share, so that one scale a vector
serves all of its 8-bit codes.

Source: the idea is LeanVec's (Tepper et al. 2023, arXiv 2312.16335, section 2, "in-distribution").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adamem.types import AnyArray, DoubleArray, FloatArray
from adamem_indexes.spiral._kernels import LINE, TAIL_BYTES, Lens, encode
from adamem_indexes.spiral._memory import aligned

_SAMPLE = 20_000
_ASKED, _NEAREST = 200, 10
"""So many rows of the sample ask for so many neighbours."""
_ENOUGH = 0.99
"""The share of the neighbours that must be among twice as many by the components that are kept. The variance that they
keep would be a bad judge: between clusters it is large, and neighbours differ within them."""
_FAITHFUL = 0.9
"""The same share by 8-bit codes, below which the vectors themselves are walked on."""
_DIRECT = 1024
"""Up to so many dimensions the principal components come from the whole covariance matrix."""


@dataclass(frozen=True)
class Fitted:
    """What was learned of the data."""

    basis: FloatArray
    """float32 (parts, d), orthonormal rows; (0, d) where the components are the centred vector itself."""
    centre: FloatArray
    """float32 (d,)."""
    faithful: bool
    """Whether bytes tell near from far: not where far clusters make the distances within one too small for them."""


def fit(vectors: FloatArray, *, width: int, seed: int) -> Fitted:
    """Learn from vectors (n, d), unit length under cosine already.

    `width` bytes a code row; 0 chooses. A basis that leaves nothing out is none: the vector's own components are coded.
    """
    n, dim = vectors.shape
    random = np.random.default_rng([seed, 1])
    rows = np.sort(random.permutation(n)[:_SAMPLE])
    sample = vectors[rows].astype(np.float64)
    centre = sample.mean(axis=0)
    sample -= centre
    truth = _Neighbours(sample)
    parts = _parts(sample, truth, width, random)
    if parts >= dim:
        basis = np.empty((0, dim), dtype=np.float32)
    else:
        main = _main_directions(sample, parts, random)
        turn, _ = np.linalg.qr(random.normal(size=(parts, parts)))
        basis = np.ascontiguousarray((main @ turn).T, dtype=np.float32)
    seen = sample if parts >= dim else sample @ basis.T.astype(np.float64)
    return Fitted(basis, centre.astype(np.float32), truth.ranked_by(_in_bytes(seen)) >= _FAITHFUL)


def code_width(parts: int) -> int:
    """Bytes of a code row with so many components: whole cache lines."""
    return -(-(parts + TAIL_BYTES) // LINE) * LINE


def components(vectors: FloatArray, fitted: Fitted) -> FloatArray:
    """float32 (m, parts) of vectors (m, d)."""
    centred = vectors - fitted.centre
    return centred if fitted.basis.shape[0] == 0 else np.ascontiguousarray(centred @ fitted.basis.T)


def lens_of(fitted: Fitted) -> Lens:
    """The same for queries, in bytes."""
    rows, dim = fitted.basis.shape
    basis = aligned((rows, code_width(dim)), np.uint8)
    nothing = np.zeros(rows, dtype=np.float32)
    encode(fitted.basis, nothing, nothing, basis, basis.view(np.float32), 0)
    return Lens(fitted.centre, basis, basis.view(np.float32))


class _Neighbours:
    """Who is near whom in a sample (n, d), to judge by how well fewer components or digits tell it."""

    def __init__(self, sample: DoubleArray) -> None:
        self._squares = np.einsum("ij,ij->i", sample, sample)
        self._asked = np.arange(min(_ASKED, sample.shape[0]))
        self._near = self._least(sample, _NEAREST)

    def ranked_by(self, parts: DoubleArray) -> float:
        """Of the nearest, the share that is among twice as many with the least estimates by `parts` (n, p)."""
        among = self._least(parts, 2 * _NEAREST)
        return float(np.mean([np.isin(near, found).mean() for near, found in zip(self._near, among, strict=True)]))

    def _least(self, parts: DoubleArray, count: int) -> AnyArray:
        estimates = self._squares - 2.0 * parts[self._asked] @ parts.T
        estimates[self._asked, self._asked] = np.inf  # not itself
        last = min(count, estimates.shape[1]) - 1
        return np.argpartition(estimates, last, axis=1)[:, : last + 1]


def _in_bytes(parts: DoubleArray) -> DoubleArray:
    """What is left of components (n, p) as bytes with a scale each."""
    scale = np.maximum(np.abs(parts).max(axis=1, keepdims=True) / 127.0, 1e-30)
    return np.asarray(np.rint(parts / scale) * scale)


def _parts(sample: DoubleArray, truth: _Neighbours, width: int, random: np.random.Generator) -> int:
    """How many components to keep: what fills whole cache lines."""
    n, dim = int(sample.shape[0]), int(sample.shape[1])
    if width:
        return min(dim, width - TAIL_BYTES)
    if dim <= 2 * LINE - TAIL_BYTES or n < 8 * dim:  # nothing to gain, or too few rows to know what matters
        return dim
    # Probed in a basis of all directions, or of as many as can pay: beyond half of them little is won.
    main = sample @ _main_directions(sample, dim if dim <= _DIRECT else dim // 2, random)
    for line in range(LINE, code_width(main.shape[1]), LINE):
        if truth.ranked_by(main[:, : line - TAIL_BYTES]) >= _ENOUGH:
            return line - TAIL_BYTES
    return dim


def _main_directions(sample: DoubleArray, parts: int, random: np.random.Generator) -> DoubleArray:
    """Float64 (d, parts), orthonormal: the principal directions, or nearly so in many dimensions."""
    dim = sample.shape[1]
    if dim <= _DIRECT:
        return np.asarray(np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :parts])
    # Subspace iteration: Halko, Martinsson and Tropp 2011, algorithm 4.4.
    found, _ = np.linalg.qr(sample.T @ (sample @ random.normal(size=(dim, parts))))
    for _ in range(2):
        found, _ = np.linalg.qr(sample.T @ (sample @ found))
    return np.asarray(found)
