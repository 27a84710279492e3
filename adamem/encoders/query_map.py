"""A low-rank map of the query vector: the documents, and any index over them, stay as they are."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from adamem.encoders.adaptation import Moves, require_base
from adamem.encoders.adapted import AdaptedEncoder
from adamem.encoders.protocol import Encoder
from adamem.encoders.sealed import fingerprint_of, seal
from adamem.errors import InvalidInput
from adamem.types import AnyArray, FloatArray


class QueryMap:
    """q becomes (q + A Bᵀ q) / |q + A Bᵀ q|; the identity where A is 0.

    The operator norm of A Bᵀ is below 1. So the sum is never 0, the map can be inverted, and no query is turned by
    more than arcsin(norm). One query of 384 dimensions at rank 16 costs some 10 us, in numpy alone.

    Parameters
    ----------
    base
        The fingerprint of the encoder that it was learnt on.
    a, b
        float32 (dim, rank) each.

    Raises
    ------
    InvalidInput
        if a and b do not fit each other, are not finite, or the operator norm of A Bᵀ is 1 or more.
    """

    kind: ClassVar[str] = "query-map"

    def __init__(self, base: str, a: FloatArray, b: FloatArray) -> None:
        if a.ndim != 2 or a.shape != b.shape:
            raise InvalidInput(f"a is {a.shape} and b is {b.shape}; expected both to be (dim, rank)")
        self._base = base
        self._a = _frozen(a)
        self._b = _frozen(b)
        norm = operator_norm(self._a, self._b)
        if not norm < 1:
            raise InvalidInput(f"the operator norm of a query map must be below 1, not {norm:.4g}; scale a or b down")

    @property
    def base(self) -> str:
        """The fingerprint of the encoder that it was learnt on."""
        return self._base

    @property
    def moves(self) -> Moves:
        """``queries``: documents keep their vectors."""
        return "queries"

    @property
    def parts(self) -> tuple[FloatArray, FloatArray]:
        """A and B, float32 (dim, rank) each, not to be written to."""
        return self._a, self._b

    @property
    def rank(self) -> int:
        """The rank of A Bᵀ, at most."""
        return int(self._a.shape[1])

    @property
    def norm(self) -> float:
        """The operator norm of A Bᵀ, in [0, 1)."""
        return operator_norm(self._a, self._b)

    @property
    def nbytes(self) -> int:
        """How many bytes A and B take."""
        return int(self._a.nbytes + self._b.nbytes)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the base's fingerprint, A and B."""
        return fingerprint_of(self.to_bytes())

    def __call__(self, queries: FloatArray) -> FloatArray:
        """Unit vectors float32 (q, dim) as unit vectors float32 (q, dim)."""
        return unit(queries + (queries @ self._b) @ self._a.T)

    def applied_to(self, base: Encoder) -> Encoder:
        """`base`, whose queries are mapped and whose documents are its own.

        Raises
        ------
        InvalidInput
            if `base` is not the encoder that it was learnt on, or has other dimensions.
        """
        require_base(base, self._base, kind=self.kind)
        if len(self._a) != base.dim:
            raise InvalidInput(
                f"this query map is of {len(self._a)} dimensions, and {base.name} has {base.dim}; it was not learnt on "
                "that encoder, whatever it says: learn one anew"
            )
        return AdaptedEncoder(
            base,
            kind=self.kind,
            learnt=self.fingerprint,
            queries=lambda texts: self(base.encode_query(texts)),
            documents=base.encode_document,
        )

    def to_bytes(self) -> bytes:
        """All that it is, for `open_adaptation`; see `seal`."""
        return seal({"kind": self.kind, "version": 1, "base": self._base}, {"a": self._a, "b": self._b})

    @classmethod
    def from_parts(cls, said: dict[str, Any], arrays: dict[str, FloatArray]) -> Self:
        """What `to_bytes` has sealed."""
        return cls(str(said["base"]), arrays["a"], arrays["b"])


def operator_norm(a: AnyArray, b: AnyArray) -> float:
    """The largest singular value of A Bᵀ, for float (dim, rank) each; NaN where either is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    if a.size == 0:
        return 0.0
    # A Bᵀ = Qa (Ra Rbᵀ) Qbᵀ: the small matrix has the same singular values.
    (_, ra), (_, rb) = (np.linalg.qr(np.asarray(side, dtype=np.float64)) for side in (a, b))
    inner = ra @ rb.T  # (rank, rank)
    return float(np.linalg.norm(inner, ord=2))


def unit(vectors: AnyArray) -> FloatArray:
    """Rows scaled to norm 1; a row of zeros stays as it is."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, np.newaxis]
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)


def _frozen(array: FloatArray) -> FloatArray:
    copy = np.array(array, dtype=np.float32, order="C")
    copy.setflags(write=False)
    return copy
