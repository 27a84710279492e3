"""The encoder of a memory file: opened when it is first needed, and only where the file's vectors are its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adamem.encoders import Encoder, open_encoder
from adamem.errors import InvalidInput
from adamem.index import check_vectors
from adamem.memory.store import EncoderRow
from adamem.types import FloatArray


class EncoderInUse:
    """What embeds texts and queries, and checks vectors that were embedded elsewhere.

    Parameters
    ----------
    spec
        A name as `open_encoder` takes it, an `Encoder`, or None for the file's own.
    file
        What the file is called in sentences.
    """

    def __init__(self, spec: str | Encoder | None, *, file: str) -> None:
        self._spec = spec
        self._file = file
        self._known: dict[str, Encoder] = {}  # by fingerprint: those that are open
        self._first: Encoder | None = None
        self._opening = threading.RLock()
        if spec is not None and not isinstance(spec, str):
            self._first = spec
            self.know(spec)

    def know(self, encoder: Encoder) -> None:
        """Use this one wherever the file's vectors are its own: all are, or will be, embedded anew by it."""
        with self._opening:
            self._known[encoder.fingerprint] = encoder

    def open(self, row: EncoderRow | None) -> Encoder:
        """The encoder of the file's vectors (`row`), or of those to come where there are none.

        Raises `InvalidInput` where the one that was named is another one.
        """
        with self._opening:
            if row is not None and row.fingerprint in self._known:
                return self._known[row.fingerprint]
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

    def documents(self, texts: Sequence[str], row: EncoderRow | None) -> FloatArray:
        """float32 (n, d), of length 1."""
        return checked(self.open(row).encode_document(list(texts)), len(texts))

    def query(self, text: str, row: EncoderRow) -> FloatArray:
        """float32 (d,), of length 1."""
        found: FloatArray = checked(self.open(row).encode_query([text]), 1)[0]
        return found

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
