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
        self._encoder: Encoder | None = None if spec is None or isinstance(spec, str) else spec
        self._opening = threading.RLock()

    def open(self, row: EncoderRow | None) -> Encoder:
        """The encoder, where the file's vectors (`row`, None where there are none) can be compared with its own.

        Raises `InvalidInput` where they cannot.
        """
        with self._opening:
            if self._encoder is None:
                spec = row.name if self._spec is None and row is not None else self._spec
                assert spec is None or isinstance(spec, str)
                encoder = open_encoder(spec)
            else:
                encoder = self._encoder
            if row is not None and encoder.fingerprint != row.fingerprint:
                if self._spec is None and self._encoder is not None:
                    self._encoder = None  # the file's own has become another one
                    return self.open(row)
                raise InvalidInput(
                    f"{self._file} holds vectors of the encoder {row.name} ({row.fingerprint[:12]}), "
                    f"which cannot be compared with those of {encoder.name} ({encoder.fingerprint[:12]}); "
                    f"open it with encoder={row.name!r}, or embed all anew: reembed(...)"
                )
            self._encoder = encoder
            return encoder

    def become(self, encoder: Encoder) -> None:
        """Use another one from now on."""
        with self._opening:
            self._spec = self._encoder = encoder

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
        if row is None or self._encoder is not None:
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
