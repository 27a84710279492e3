"""From vectors to the components that are coded: centred, and turned so that few of them carry most of the variance.

A graph is walked by estimates that need only rank well; the last word has the vector itself. So the components that
carry little variance are left out: fewer cache lines a distance. Which to leave out, the principal components of a
sample tell. A random rotation within those that stay gives each about the same share, so that one scale a vector
serves all of its 8-bit codes.

Source: the idea is LeanVec's (Tepper et al. 2023, arXiv 2312.16335, section 2, "in-distribution").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from adamem.types import AnyArray, DoubleArray, FloatArray, IdArray
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
_PIECE = 1024
"""Rows of the sample that are in double precision at once."""
_TOGETHER = 20
"""Rows that ask at once."""
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


def fit(take: Callable[[IdArray], FloatArray], shape: tuple[int, int], *, width: int, seed: int) -> Fitted:
    """Learn from vectors of the shape (n, d), of which `take` gives some rows: a copy, in the form that is coded.

    `width` bytes a code row; 0 chooses. A basis that leaves nothing out is none: the vector's own components are coded.
    """
    dim = shape[1]
    random = np.random.default_rng([seed, 1])
    rows = np.sort(random.permutation(shape[0])[:_SAMPLE])
    sample, centre = _centred(take, rows, dim)
    truth = _Neighbours(sample)
    parts = _parts(sample, truth, width, random)
    del sample  # before it is taken anew
    sample, centre = _centred(take, rows, dim)
    if parts >= dim:
        basis = np.empty((0, dim), dtype=np.float32)
        seen = sample
    else:
        main = _main_directions(sample, parts, random)
        turn, _ = np.linalg.qr(random.normal(size=(parts, parts)))
        basis = np.ascontiguousarray((main @ turn).T, dtype=np.float32)
        seen = _turned(sample, basis.T.astype(np.float64))
    _round_to_bytes(seen)
    return Fitted(basis, centre.astype(np.float32), truth.ranked_by(seen) >= _FAITHFUL)


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

    def __init__(self, sample: FloatArray) -> None:
        self._squares = np.concatenate([np.einsum("ij,ij->i", block, block) for block in _doubles(sample)])
        self._asked = np.arange(min(_ASKED, sample.shape[0]))
        self._near = self._least(sample, _NEAREST)

    def ranked_by(self, parts: FloatArray) -> float:
        """Of the nearest, the share that is among twice as many with the least estimates by `parts` (n, p)."""
        among = self._least(parts, 2 * _NEAREST)
        return float(np.mean([np.isin(near, found).mean() for near, found in zip(self._near, among, strict=True)]))

    def _least(self, parts: FloatArray, count: int) -> AnyArray:
        last = min(count, self._squares.size) - 1
        # A copy of the few: a view would keep the whole.
        found = [
            np.argpartition(self._estimates(parts, some), last, axis=1)[:, : last + 1].copy()
            for some in np.array_split(self._asked, -(-self._asked.size // _TOGETHER))
        ]
        return np.concatenate(found)

    def _estimates(self, parts: FloatArray, asked: AnyArray) -> DoubleArray:
        points = parts[asked].astype(np.float64)
        products = np.concatenate([points @ block.T for block in _doubles(parts)], axis=1)
        products *= -2.0
        products += self._squares
        products[np.arange(asked.size), asked] = np.inf  # not itself
        return np.asarray(products)


def _centred(take: Callable[[IdArray], FloatArray], rows: IdArray, dim: int) -> tuple[FloatArray, DoubleArray]:
    """The sample less its mean, float32 (m, d), and the mean."""
    # In single precision, and turned to double in pieces: the sample is a large part of what a build holds at its peak.
    sample = np.empty((rows.size, dim), dtype=np.float32)
    for some in _pieces(sample):
        sample[some] = take(rows[some])
    centre = sample.mean(axis=0, dtype=np.float64)
    for some in _pieces(sample):
        sample[some] = sample[some] - centre
    return sample, centre


def _pieces(array: FloatArray) -> Iterator[slice]:
    for start in range(0, array.shape[0], _PIECE):
        yield slice(start, start + _PIECE)


def _doubles(array: FloatArray) -> Iterator[DoubleArray]:
    return (array[some].astype(np.float64) for some in _pieces(array))


def _turned(sample: FloatArray, directions: DoubleArray) -> FloatArray:
    """float32 (n, p), in the memory of the sample: its components along the columns of `directions` (d, p)."""
    out = sample[:, : directions.shape[1]]
    for some in _pieces(sample):
        out[some] = sample[some].astype(np.float64) @ directions
    return out


def _spread(sample: FloatArray, directions: DoubleArray) -> DoubleArray:
    """Float64 (d, p): the covariance matrix, up to a factor, times `directions` (d, p)."""
    return np.asarray(sum(block.T @ (block @ directions) for block in _doubles(sample)))


def _round_to_bytes(parts: FloatArray) -> None:
    """Leave of components (n, p) what is left of them as bytes with a scale each."""
    for some in _pieces(parts):
        scale = np.maximum(np.abs(parts[some]).max(axis=1, keepdims=True) / np.float32(127), np.float32(1e-30))
        parts[some] = np.rint(parts[some] / scale) * scale


def _parts(sample: FloatArray, truth: _Neighbours, width: int, random: np.random.Generator) -> int:
    """How many components to keep: what fills whole cache lines. What is in the sample's memory is lost."""
    n, dim = int(sample.shape[0]), int(sample.shape[1])
    if width:
        return min(dim, width - TAIL_BYTES)
    if dim <= 2 * LINE - TAIL_BYTES or n < 8 * dim:  # nothing to gain, or too few rows to know what matters
        return dim
    # Probed in a basis of all directions, or of as many as can pay: beyond half of them little is won.
    main = _turned(sample, _main_directions(sample, dim if dim <= _DIRECT else dim // 2, random))
    for line in range(LINE, code_width(main.shape[1]), LINE):
        if truth.ranked_by(main[:, : line - TAIL_BYTES]) >= _ENOUGH:
            return line - TAIL_BYTES
    return dim


def _main_directions(sample: FloatArray, parts: int, random: np.random.Generator) -> DoubleArray:
    """Float64 (d, parts), orthonormal: the principal directions, or nearly so in many dimensions."""
    dim = sample.shape[1]
    if dim <= _DIRECT:
        covariance = sum(block.T @ block for block in _doubles(sample))
        return np.asarray(np.linalg.eigh(covariance)[1][:, ::-1][:, :parts])
    # Subspace iteration: Halko, Martinsson and Tropp 2011, algorithm 4.4.
    found, _ = np.linalg.qr(_spread(sample, random.normal(size=(dim, parts))))
    for _ in range(2):
        found, _ = np.linalg.qr(_spread(sample, found))
    return np.asarray(found)
