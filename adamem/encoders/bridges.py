"""Bridges from a new encoder's space to an old one's, for the time until the documents are embedded anew.

Each is fitted to the same texts as both encoders embed them. Procrustes and the low-rank affine map are those of
arXiv 2509.23471, the mean drift that of arXiv 2506.00037.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy.linalg import orthogonal_procrustes

from adamem.encoders.adapted import AdaptedEncoder
from adamem.encoders.protocol import Encoder
from adamem.encoders.query_map import unit
from adamem.encoders.sealed import fingerprint_of, seal, unseal
from adamem.errors import CorruptResult, InvalidInput
from adamem.types import DoubleArray, FloatArray


class Bridge:
    """x becomes y / |y|, where y = x + x U Vᵀ + b, or y = x R where there is a rotation R.

    Parameters
    ----------
    method
        How it was fitted: ``procrustes``, ``low-rank-affine`` or ``mean-drift``.
    parts
        float32, finite: either ``rotation`` (dim, dim), or ``left`` and ``right`` (dim, rank) and ``bias`` (dim).
    joins
        The fingerprints of the new encoder and of the old one, where they are known; see `joining`.

    Raises
    ------
    InvalidInput
        if the parts are others, do not fit each other, or are not finite.
    """

    def __init__(self, method: str, *, joins: tuple[str, str] | None = None, **parts: FloatArray) -> None:
        self.method = method
        self.joins = joins
        self._parts = {name: np.ascontiguousarray(part, dtype=np.float32) for name, part in parts.items()}
        for part in self._parts.values():
            part.setflags(write=False)
        shapes = {name: part.shape for name, part in self._parts.items()}
        match shapes:
            case {"rotation": (dim, other)} if len(shapes) == 1 and dim == other:
                self._dim = dim
            case {"left": (dim, _) as left, "right": right, "bias": bias} if (
                len(shapes) == 3 and left == right and bias == (dim,)
            ):
                self._dim = dim
            case _:
                raise InvalidInput(
                    f"a bridge takes a rotation (dim, dim), or left and right (dim, rank) and bias (dim), not {shapes}"
                )
        if not all(np.isfinite(part).all() for part in self._parts.values()):
            raise InvalidInput("a bridge takes parts that are all finite; fit it anew")

    @property
    def nbytes(self) -> int:
        """How many bytes its arrays take."""
        return sum(part.nbytes for part in self._parts.values())

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the method, the arrays and what it joins."""
        return fingerprint_of(self.to_bytes())

    def __call__(self, new: FloatArray) -> FloatArray:
        """Vectors of the new space, float32 (q, dim), as unit vectors of the old, float32 (q, dim).

        Raises `InvalidInput` for vectors of another dimension.
        """
        if new.shape[1] != self._dim:
            raise InvalidInput(
                f"this bridge is of {self._dim} dimensions, and the vectors have {new.shape[1]}; fit one of their own"
            )
        if "rotation" in self._parts:
            return unit(new @ self._parts["rotation"])
        return unit(new + (new @ self._parts["left"]) @ self._parts["right"].T + self._parts["bias"])

    def joining(self, new: Encoder, old: Encoder) -> Bridge:
        """The same bridge, which knows from now on that it leads from `new` to `old`, and to and from no other."""
        return Bridge(self.method, joins=(new.fingerprint, old.fingerprint), **self._parts)

    def require(self, new: Encoder, old: Encoder | None = None) -> None:
        """Raise `InvalidInput` if it is known to join other encoders than these."""
        for encoder, end, where in zip((new, old), self.joins or (None, None), ("from", "to"), strict=True):
            if encoder is not None and end is not None and encoder.fingerprint != end:
                raise InvalidInput(
                    f"this bridge leads {where} the encoder {end[:12]}, and {encoder.name} is "
                    f"{encoder.fingerprint[:12]}: their vectors are of different spaces; fit a bridge of its own"
                )

    def to_bytes(self) -> bytes:
        """All that it is; see `seal`."""
        said: dict[str, Any] = {"kind": "bridge", "version": 1, "method": self.method}
        return seal(said if self.joins is None else said | {"joins": list(self.joins)}, self._parts)

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self:
        """The bridge that `to_bytes` has written; nothing in it is run. Raises `CorruptResult` if it is not whole."""
        return cls.from_parts(*unseal(kept))

    @classmethod
    def from_parts(cls, said: dict[str, Any], parts: dict[str, FloatArray]) -> Self:
        """What `to_bytes` has sealed. Raises `CorruptResult` if it is no bridge."""
        if said.get("kind") != "bridge":
            raise CorruptResult(f"kept bytes hold a {said.get('kind')}, expected a bridge; pass what to_bytes wrote")
        try:
            new, old = said.get("joins") or (None, None)
            return cls(str(said["method"]), joins=None if new is None else (str(new), str(old)), **parts)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptResult(f"a kept bridge is incomplete or breaks its rules ({error}); fit it anew") from error


def procrustes(new: FloatArray, old: FloatArray) -> Bridge:
    """The rotation or reflection R that brings new R nearest to old (least squares; Schönemann, 1966), without scale.

    Parameters
    ----------
    new, old
        The same n texts as both encoders embed them, float32 (n, dim) each. With n < dim it is not determined off
        the texts' span.

    Raises
    ------
    InvalidInput
        if they are no pairs of finite vectors.
    """
    new64, old64 = _paired(new, old)
    rotation, _ = orthogonal_procrustes(new64, old64)
    return Bridge("procrustes", rotation=rotation.astype(np.float32))


def low_rank_affine(new: FloatArray, old: FloatArray, *, rank: int = 32, ridge: float = 0.01) -> Bridge:
    """The map x + x W + b, W of rank `rank` at most, that brings new nearest to old.

    Least squares on top of the identity with a ridge penalty on W: reduced-rank ridge regression in closed form
    (Mukherjee & Zhu, 2011, section 2).

    Parameters
    ----------
    new, old
        The same n texts as both encoders embed them, float32 (n, dim) each.
    rank
        From 0 (the mean drift) on; more than dim is dim.
    ridge
        The penalty as a multiple of the mean variance of an axis, above 0.

    Raises
    ------
    InvalidInput
        if they are no pairs of finite vectors, or rank or ridge are out of their range.
    """
    if rank < 0 or not ridge > 0:
        raise InvalidInput(f"a bridge takes rank >= 0 and ridge > 0, not rank {rank} and ridge {ridge}")
    new64, old64 = _paired(new, old)
    dim = new64.shape[1]
    centre, drift = new64.mean(axis=0), (old64 - new64).mean(axis=0)
    x, y = new64 - centre, old64 - new64 - drift  # (n, dim) each
    gram = x.T @ x
    penalty = ridge * max(float(np.trace(gram)) / dim, np.finfo(np.float64).tiny)
    gram[np.diag_indices(dim)] += penalty
    full = np.linalg.solve(gram, x.T @ y)  # (dim, dim): the ridge solution of full rank
    # Of its answers' directions those that carry most, as the penalised problem weighs them: Wᵀ (XᵀX + λ) W.
    _, axes = np.linalg.eigh(full.T @ gram @ full)  # ascending
    right = axes[:, ::-1][:, : min(rank, dim)]  # (dim, rank)
    left = full @ right  # (dim, rank)
    return Bridge(
        "low-rank-affine", left=_single(left), right=_single(right), bias=_single(drift - centre @ left @ right.T)
    )


def mean_drift(new: FloatArray, old: FloatArray) -> Bridge:
    """The shift by the mean of old - new.

    Parameters
    ----------
    new, old
        The same n texts as both encoders embed them, float32 (n, dim) each.

    Raises
    ------
    InvalidInput
        if they are no pairs of finite vectors.
    """
    new64, old64 = _paired(new, old)
    nothing = np.zeros((new64.shape[1], 0), dtype=np.float32)
    return Bridge("mean-drift", left=nothing, right=nothing, bias=_single((old64 - new64).mean(axis=0)))


def bridged(new: Encoder, bridge: Bridge) -> Encoder:
    """The encoder `new`, speaking the old space: its queries and its documents go over the bridge.

    So its queries meet the documents that the old encoder embedded, and a document that it embeds lies among them.
    Raises `InvalidInput` if the bridge is known to lead from another encoder.
    """
    bridge.require(new)
    return AdaptedEncoder(
        new,
        kind=bridge.method,
        learnt=bridge.fingerprint,
        queries=lambda texts: bridge(new.encode_query(texts)),
        documents=lambda texts: bridge(new.encode_document(texts)),
    )


def _paired(new: FloatArray, old: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    if new.ndim != 2 or new.shape != old.shape or len(new) == 0:
        raise InvalidInput(
            f"a bridge is fitted to the same texts in both spaces: new is {new.shape} and old is {old.shape}; "
            "expected two arrays (n, dim) of one shape, n at least 1"
        )
    if not (np.isfinite(new).all() and np.isfinite(old).all()):
        raise InvalidInput("a bridge is fitted to finite vectors, and some component is NaN or infinite; drop its text")
    return new.astype(np.float64), old.astype(np.float64)


def _single(array: DoubleArray) -> FloatArray:
    return np.asarray(array, dtype=np.float32)
