"""The encoder of a memory file: opened when it is first needed, and only where the file's vectors are its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adamem.encoders import Encoder, open_encoder
from adamem.encoders.adaptation import open_adaptation
from adamem.encoders.registry import fitted_dim
from adamem.errors import InvalidInput
from adamem.index import check_vectors
from adamem.memory.fitting import FEWEST, fit, open_kept
from adamem.memory.learning import Learning, require_model
from adamem.memory.store import EncoderRow
from adamem.types import FloatArray

if TYPE_CHECKING:
    from adamem.encoders.lsa import LsaEncoder


class EncoderInUse:
    """What embeds texts and queries, and checks vectors that were embedded elsewhere.

    Parameters
    ----------
    spec
        A name as `open_encoder` takes it, an `Encoder`, or None for the file's own.
    file
        What the file is called in sentences.
    kept
        Gives what the file has of an encoder that was fitted to its texts, or None.
    learning
        What encoders have learnt here.
    """

    def __init__(
        self,
        spec: str | Encoder | None,
        *,
        file: str,
        kept: Callable[[EncoderRow], bytes | None],
        learning: Learning,
    ) -> None:
        self._spec = spec
        self._file = file
        self._kept = kept
        self._learning = learning
        self._moved: Encoder | None = None  # what embeds queries where an adaptation moves them
        self._known: dict[str, Encoder] = {}  # by fingerprint: those that are open
        self._fitted: set[str] = set()  # fingerprints of those that the file itself has, and that were in use
        self._first: Encoder | None = None
        self._opening = threading.RLock()
        if spec is not None and not isinstance(spec, str):
            self._first = spec
            self.know(spec)

    def know(self, encoder: Encoder) -> None:
        """Use this one wherever the file's vectors are its own: all are, or will be, embedded anew by it."""
        with self._opening:
            self._known[encoder.fingerprint] = encoder

    def know_moving(self, encoder: Encoder, *, on: Encoder) -> None:
        """Embed queries by this one where an adaptation of `on` moves them, unless that was forgotten meanwhile."""
        with self._opening:
            if self._known.get(on.fingerprint) is on:
                self._moved = encoder

    def know_fitted(self, encoder: LsaEncoder) -> None:
        """As `know`, of one that was fitted to the file's texts and is kept in it."""
        with self._opening:
            self._fitted.add(encoder.fingerprint)
            self.know(encoder)

    def forget_fitted(self) -> None:
        """Open what the file has of fitted encoders anew: words may have been taken out of them."""
        with self._opening:
            for fingerprint in self._fitted:
                self._known.pop(fingerprint, None)
            if self._fitted:
                self._moved = None  # one of them may be its base

    @property
    def must_be_fitted(self) -> bool:
        """Whether it is one that has to be fitted to the first texts of a new file."""
        return (self._spec is None or isinstance(self._spec, str)) and fitted_dim(self._spec) is not None

    def fit(self, texts: Iterable[str]) -> LsaEncoder:
        """One fitted to texts, not yet in use. Raises `InvalidInput` where that makes no sense with so few."""
        assert self._spec is None or isinstance(self._spec, str)
        dim = fitted_dim(self._spec)
        assert dim is not None
        return fit(texts, dim)

    def open(self, row: EncoderRow | None) -> Encoder:
        """The encoder of the file's vectors (`row`), or of those to come where there are none.

        Raises `InvalidInput` where the one that was named is another one.
        """
        with self._opening:
            if row is not None and row.fingerprint in self._known:
                return self._known[row.fingerprint]
            if row is not None and (fitted_here := self._opened(row)) is not None:
                self.know_fitted(fitted_here)
                return fitted_here
            if row is not None and (learnt := self._learning.of_encoder(row)) is not None:
                adapted = open_adaptation(learnt.model).applied_to(self.open(learnt.base))
                self.know(adapted)
                return adapted
            if row is None and self.must_be_fitted:
                raise InvalidInput(
                    f"lsa is fitted to the first texts that are added to {self._file}, at least {FEWEST} at once, and "
                    "makes no vectors before; add texts without vectors of your own, or use encoder='hashing'"
                )
            if self._first is None or (self._spec is None and row is not None):
                spec = row.name if self._spec is None and row is not None else self._spec
                assert spec is None or isinstance(spec, str)
                self._first = open_encoder(spec)
                self.know(self._first)
            encoder = self._first
            if row is not None and encoder.fingerprint != row.fingerprint:
                raise InvalidInput(
                    f"{self._file} holds vectors of the encoder {row.name} ({row.fingerprint[:12]}), "
                    f"which cannot be compared with those of {encoder.name} ({encoder.fingerprint[:12]}); "
                    f"open it with encoder={row.name!r}, or embed all anew: reembed(...)"
                )
            return encoder

    def _opened(self, row: EncoderRow) -> LsaEncoder | None:
        """The encoder of the file's vectors, if the file has it and it is what was asked for."""
        was_in_use = row.fingerprint in self._fitted
        asked = fitted_dim(self._spec) if isinstance(self._spec, str) else None
        if not was_in_use and self._spec is not None and asked is None:
            return None
        kept = self._kept(row)
        found = None if kept is None else open_kept(kept, file=self._file)
        if found is not None and (was_in_use or self._spec in (None, "lsa") or asked in (found.dim, found.asked_dim)):
            return found
        if kept is None and fitted_dim(row.name) is not None:
            raise InvalidInput(
                f"{self._file} holds vectors of an lsa that is not kept in it ({row.fingerprint[:12]}); pass that "
                "very encoder, encoder=LsaEncoder(...), or embed all anew: reembed('lsa')"
            )
        if asked is not None:
            raise InvalidInput(
                f"{self._file} holds vectors of the encoder {row.name} ({row.fingerprint[:12]}), not of {self._spec}; "
                f"open it with encoder={row.name!r}, or embed all anew: reembed({self._spec!r})"
            )
        return None

    def documents(self, texts: Sequence[str], row: EncoderRow | None) -> FloatArray:
        """float32 (n, d), of length 1."""
        return checked(self.open(row).encode_document(list(texts)), len(texts))

    def query(self, text: str, row: EncoderRow) -> FloatArray:
        """float32 (d,), of length 1."""
        encoder = self.open(row) if row.adaptation is None else self._moving(row, row.adaptation)
        found: FloatArray = checked(encoder.encode_query([text]), 1)[0]
        return found

    def _moving(self, row: EncoderRow, number: int) -> Encoder:
        with self._opening:
            if self._moved is None or self._moved.fingerprint != row.adapted:
                learnt = require_model(self._learning.model(number), number, file=self._file)
                self._moved = open_adaptation(learnt.model).applied_to(self.open(row))
            return self._moved

    def given(self, vectors: npt.ArrayLike, count: int, row: EncoderRow | None) -> FloatArray:
        """Vectors (n, d) that the caller has embedded already, as float32 of length 1.

        An encoder that is not open yet is not opened for them, and believed to be the one that they are from.
        """
        found = checked(vectors, count)
        if row is None or self._known:
            self.open(row)
        dim = self.open(None).dim if row is None else row.dim
        if found.shape[1] != dim:
            raise InvalidInput(
                f"the vectors have {found.shape[1]} dimensions, but the encoder of {self._file} makes {dim}; "
                "embed them with the same one"
            )
        return found


def check_encoder(encoder: object) -> None:
    """A name or an `Encoder`."""
    if not isinstance(encoder, (str, Encoder)):
        raise InvalidInput(f"encoder must be a name or an Encoder, not {type(encoder).__name__}; see open_encoder")


def checked(vectors: npt.ArrayLike, count: int) -> FloatArray:
    """Vectors as float32 (count, d), scaled to length 1."""
    found = check_vectors(vectors, metric="cosine")
    if found.shape[0] != count:
        raise InvalidInput(f"{count} memories came with {found.shape[0]} vectors; pass one a memory")
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))[:, None]
    return np.asarray(found / lengths, dtype=np.float32)


def one_vector(vector: npt.ArrayLike | None) -> npt.NDArray[np.generic] | None:
    """A vector (d,) as (1, d)."""
    if vector is None:
        return None
    given = np.asarray(vector)
    if given.ndim != 1:
        raise InvalidInput(f"vector must have the shape (d,), not {given.shape}; pass several to add_many(vectors=...)")
    return given[None, :]
