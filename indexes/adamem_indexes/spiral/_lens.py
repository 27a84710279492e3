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
from adamem_indexes._threads import in_turn
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
_FEW, _HALF = 0.02, 0.5
"""So are they where bytes leave more than so few of those that ask with less than half of their neighbours: a part of
the data may lie far closer together than the rest."""
_PIECE = 1024
"""Rows of the sample that are in double precision at once."""
_TOGETHER = 50
"""Rows that a thread lets ask at once."""
_FARTHEST_REACH = 1e18
"""Beyond, products with the vectors would overflow float32."""
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


def fit(
    take: Callable[[IdArray], FloatArray], shape: tuple[int, int], *, width: int, seed: int, threads: int = 1
) -> Fitted:
    """Learn from vectors of the shape (n, d), of which `take` gives some rows: a copy, in the form that is coded.

    `width` bytes a code row; 0 chooses. A basis that leaves nothing out is none: the vector's own components are coded.
    What is learned does not depend on the number of threads.
    """
    dim = shape[1]
    random = np.random.default_rng([seed, 1])
    rows = np.sort(random.permutation(shape[0])[:_SAMPLE])
    sample, centre = _centred(take, rows, dim)
    truth = _Neighbours(sample, np.random.default_rng([seed, 2]), threads)
    basis = np.empty((0, dim), dtype=np.float32)
    parts = min(dim, width - TAIL_BYTES) if width else dim
    # With few dimensions there is nothing to gain, with few rows it cannot be known what matters.
    if parts < dim or (not width and dim > 2 * LINE - TAIL_BYTES and rows.size >= 8 * dim):
        # In a basis of all directions, or of as many as can pay: beyond half of them little is won.
        most = parts if parts < dim else dim if dim <= _DIRECT else dim // 2
        main = _main_directions(sample, most, random, threads)
        sample = _turned(sample, main, threads)
        widths = [line - TAIL_BYTES for line in range(LINE, code_width(most), LINE)]
        if parts == dim:
            parts = next((some for some in widths if truth.ranked_by(sample[:, :some]).mean() >= _ENOUGH), dim)
        if parts < dim:
            turn, _ = np.linalg.qr(random.normal(size=(parts, parts)))
            basis = np.ascontiguousarray((main[:, :parts] @ turn).T, dtype=np.float32)
            sample = _turned(sample[:, :parts], turn, threads)
        else:
            del sample  # before it is taken anew
            sample, _ = _centred(take, rows, dim)
    _round_to_bytes(sample)
    shares = truth.ranked_by(sample)
    faithful = bool(shares.mean() >= _FAITHFUL and (shares < _HALF).mean() <= _FEW)
    return Fitted(basis, centre.astype(np.float32), faithful)


def code_width(parts: int) -> int:
    """Bytes of a code row with so many components: whole cache lines."""
    return -(-(parts + TAIL_BYTES) // LINE) * LINE


def components(vectors: FloatArray, fitted: Fitted) -> FloatArray:
    """float32 (m, parts) of vectors (m, d)."""
    centred = vectors - fitted.centre
    return centred if fitted.basis.shape[0] == 0 else np.ascontiguousarray(centred @ fitted.basis.T)


def lens_of(fitted: Fitted, *, reach: float = 0.0) -> Lens:
    """The same for queries, in bytes; `reach` as in `Lens`."""
    rows, dim = fitted.basis.shape
    basis = aligned((rows, code_width(dim)), np.uint8)
    nothing = np.zeros(rows, dtype=np.float32)
    encode(fitted.basis, nothing, nothing, basis, basis.view(np.float32), 0)
    return Lens(fitted.centre, basis, basis.view(np.float32), min(reach, _FARTHEST_REACH))


class _Neighbours:
    """Who is near whom in a sample (n, d), to judge by how well fewer components or digits tell it."""

    def __init__(self, sample: FloatArray, random: np.random.Generator, threads: int) -> None:
        self._threads = threads
        self._squares = np.concatenate([np.einsum("ij,ij->i", block, block) for block in _doubles(sample)])
        # From all over it: collections lie in the order of their sources, and one may be unlike the next.
        self._asked = np.sort(random.permutation(sample.shape[0])[:_ASKED])
        self._near = self._least(sample, _NEAREST)

    def ranked_by(self, parts: FloatArray) -> DoubleArray:
        """Of each one's nearest, the share that is among twice as many with the least estimates by `parts` (n, p)."""
        among = self._least(parts, 2 * _NEAREST)
        return np.array([np.isin(near, found).mean() for near, found in zip(self._near, among, strict=True)])

    def _least(self, parts: FloatArray, count: int) -> AnyArray:
        count = min(count, self._squares.size)
        groups = np.array_split(self._asked, -(-self._asked.size // _TOGETHER))
        return np.concatenate(list(in_turn(lambda asked: self._least_to(parts, asked, count), groups, self._threads)))

    def _least_to(self, parts: FloatArray, asked: AnyArray, count: int) -> AnyArray:
        """Those with the least estimates to each that asks: piece by piece, for the estimates to all take much room."""
        points = parts[asked].astype(np.float64)
        least, who = np.empty((asked.size, 0)), np.empty((asked.size, 0), dtype=np.int64)
        for some in _pieces(parts):
            estimates = self._squares[some] - 2.0 * (points @ parts[some].astype(np.float64).T)
            rows = np.arange(self._squares.size)[some]
            estimates[asked[:, None] == rows] = np.inf  # not itself
            least = np.concatenate([least, estimates], axis=1)
            who = np.concatenate([who, np.broadcast_to(rows, estimates.shape)], axis=1)
            kept = np.argpartition(least, count - 1, axis=1)[:, :count]
            least, who = np.take_along_axis(least, kept, axis=1), np.take_along_axis(who, kept, axis=1)
        return who


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


def _turned(sample: FloatArray, directions: DoubleArray, threads: int) -> FloatArray:
    """float32 (n, p), in the memory of the sample: its components along the columns of `directions` (d, p)."""
    out = sample[:, : directions.shape[1]]
    turn = directions.astype(np.float32)

    def one(some: slice) -> None:
        out[some] = sample[some] @ turn

    for _ in in_turn(one, _pieces(sample), threads):
        pass
    return out


def _spread(sample: FloatArray, directions: DoubleArray | None, threads: int) -> DoubleArray:
    """Float64: the covariance matrix, up to a factor, times `directions` (d, p) if they are given."""

    def one(some: slice) -> DoubleArray:
        block = sample[some].astype(np.float64)
        return np.asarray(block.T @ (block if directions is None else block @ directions))

    return np.asarray(sum(in_turn(one, _pieces(sample), threads)))


def _round_to_bytes(parts: FloatArray) -> None:
    """Leave of components (n, p) what is left of them as bytes with a scale each."""
    for some in _pieces(parts):
        scale = np.maximum(np.abs(parts[some]).max(axis=1, keepdims=True) / np.float32(127), np.float32(1e-30))
        parts[some] = np.rint(parts[some] / scale) * scale


def _main_directions(sample: FloatArray, parts: int, random: np.random.Generator, threads: int) -> DoubleArray:
    """Float64 (d, parts), orthonormal: the principal directions, or nearly so in many dimensions."""
    dim = sample.shape[1]
    if dim <= _DIRECT:
        return np.asarray(np.linalg.eigh(_spread(sample, None, threads))[1][:, ::-1][:, :parts])
    # Subspace iteration: Halko, Martinsson and Tropp 2011, algorithm 4.4.
    found, _ = np.linalg.qr(_spread(sample, random.normal(size=(dim, parts)), threads))
    for _ in range(2):
        found, _ = np.linalg.qr(_spread(sample, found, threads))
    return np.asarray(found)
