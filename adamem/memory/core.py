"""What all verbs of the engine share: an opened file, what is derived from it, and who may do what when."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from adamem.encoders import Encoder
from adamem.errors import AdaMemError, InvalidInput, StorageError
from adamem.memory import fitting, removal
from adamem.memory.clock import Clock
from adamem.memory.drafts import Draft
from adamem.memory.encoder_in_use import EncoderInUse, checked
from adamem.memory.index_files import IndexFiles
from adamem.memory.indexed import IndexKind
from adamem.memory.learning import Learning
from adamem.memory.lexicon import Lexicon
from adamem.memory.records import Added
from adamem.memory.scribe import Scribe
from adamem.memory.shelves import Shelves
from adamem.memory.store import Change, Drift, EncoderRow, Kept, Store
from adamem.memory.usage import Usage
from adamem.types import FloatArray, IdArray

if TYPE_CHECKING:
    from adamem.encoders.lsa import LsaEncoder

T = TypeVar("T")
_log = logging.getLogger(__name__)


class EmbeddedMeanwhile(StorageError):
    """What was to be added had vectors of the encoder that the file had before."""


class GivenUp(StorageError):
    """What took long went on from something that was given up meanwhile: see `Core.past`."""


class Core:
    """An opened memory file.

    Whatever writes is done by one thread, one after the other (`write`); reads are done by whoever asks, but for the
    main thread's (`read`).

    Parameters
    ----------
    path, encoder, kind, readonly, wait, room, threads, most_bytes, clock
        As `MemoryEngine` has them, checked.
    learns
        Whether answers to questions are lessons for the encoder.
    held_out
        The share of them that are never taught.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        encoder: str | Encoder | None,
        kind: IndexKind,
        readonly: bool,
        wait: float,
        room: int,
        threads: int,
        most_bytes: int,
        clock: Clock,
        learns: bool,
        held_out: float,
    ) -> None:
        self.path = path
        self.file = str(path or ":memory:")
        self.kind = kind
        self.readonly = readonly
        self.learns = learns
        self.past = 0
        """The number of the past that the file goes on from. A rollback gives that up, and so does whoever chooses what
        the encoder is to have learnt; what takes long remembers it, and writes nothing any more where it is another."""
        self._process = os.getpid()
        self._closed = False
        self._writer = Scribe()
        self._reader = Scribe()
        self.usage = Usage()
        self.store = Store(path, readonly=readonly, wait=wait, clock=clock)
        try:
            self.learning = Learning(self.store, held_out=held_out)
            self.encoder = EncoderInUse(encoder, file=self.file, kept=self.store.kept_encoder, learning=self.learning)
            self.row = self.store.encoder()
            if self.row is not None and encoder is not None and not isinstance(encoder, str):
                self.encoder.open(self.row)
            folder = None if path is None else Path(f"{path}.index")
            files = None if folder is None else IndexFiles(folder)
            self.shelves = Shelves(
                self.store, files, kind, room=room, threads=threads, most_bytes=most_bytes, writes=not readonly
            )
            self.lexicon = Lexicon(self.store, folder)
            if not readonly and removal.to_scrub(self.store):
                self.scrub_or_tell()  # a purge was killed
        except BaseException:
            self.store.close()
            raise

    # -- who may do what -----------------------------------------------------------------------------------------------

    def require_open(self) -> None:
        """Raises `StorageError` after `close`, and in a process that was forked."""
        if self._closed:
            raise StorageError(f"the memory {self.file} is closed; open it again with MemoryEngine(...)")
        if self.is_forked:
            raise StorageError(f"the memory {self.file} was opened before a fork; open it in this process as well")

    def require_writer(self) -> None:
        """Raises `StorageError` where nothing may be changed."""
        self.require_open()
        if self.readonly:
            raise StorageError(f"{self.path} was opened for reading; open it without readonly=True to change it")

    def read(self, work: Callable[[], T]) -> T:
        """What `work` returns, which reads. Where an interrupt may come, it is done by a thread that gets none."""
        self.require_open()
        return self._reader.do(work) if threading.current_thread() is threading.main_thread() else work()

    def write(self, work: Callable[[], T], *, past: int | None = None) -> T:
        """What `work` returns, which writes: nothing else does meanwhile, and no interrupt falls into it.

        Raises `GivenUp` in place of it where the file goes on from another `past` than the one that is given.
        """

        def unless_given_up() -> T:
            self.require_writer()
            if past not in (None, self.past):
                raise GivenUp(
                    f"{self.file} was rolled back while this was under way, or what its encoder has learnt was chosen "
                    "anew; nothing more comes of it: begin it again if it is still wanted"
                )
            return work()

        self.require_writer()
        return self._writer.do(unless_given_up)

    def give_up_past(self) -> int:
        """Let nothing come of what is under way and takes long; the number of the past from now on.

        To be called in `write`, after what it is done for: who reads the number first, and then the file, has both of
        one past, or a number that is given up.
        """
        self.past += 1
        return self.past

    def later(self, work: Callable[[], object]) -> None:
        """Have something written that nobody waits for."""
        self._writer.later(work)

    @property
    def is_forked(self) -> bool:
        """Whether this is a copy, in a child of the process that opened it: threads and processes are the other's."""
        return self._process != os.getpid()

    def close(self) -> None:
        """Save what is derived, and let another one write the file."""
        if not self.is_forked:
            self._writer.do(self._close)
            self._writer.close()
            self._reader.close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as rest:  # each of them, whatever comes of the others; the last ones first
            rest.callback(self.store.close)
            rest.callback(self.shelves.close)
            rest.callback(self.lexicon.close)
            if not self.readonly:
                rest.callback(self._write_usage)

    def _write_usage(self) -> None:
        try:
            self.usage.write(self.store)
        except StorageError as error:  # counts that nobody was promised
            _log.warning("how often memories of %s were found is not written: %s", self.file, error)

    # -- what everybody does -------------------------------------------------------------------------------------------

    def known_encoder(self) -> EncoderRow | None:
        """The encoder whose vectors are in the file, if there are any yet."""
        self.require_open()
        if self.readonly:  # else only what is done in `write` changes it
            self.row = self.read(self.store.encoder)
        return self.row

    def whereabouts(self, namespace: str) -> tuple[EncoderRow | None, int | None]:
        """The encoder whose vectors are in the file, and a namespace's number; None for what is not there yet."""
        if not self.readonly:
            return self.known_encoder(), self.store.namespace(namespace)
        self.row, number = self.store.whereabouts(namespace)
        return self.row, number

    def embedded(self, texts: Sequence[str], vectors: npt.ArrayLike | None) -> Embedded | None:
        """Vectors (n, d) of length 1, those given or the texts' own; None where the encoder is to be fitted to them."""
        row = self.known_encoder()
        if vectors is not None:
            return Embedded(self.encoder.given(vectors, len(texts), row), self.maker(row))
        if row is None and self.encoder.must_be_fitted:
            return None
        return Embedded(self.encoder.documents(texts, row), self.maker(row))

    def maker(self, row: EncoderRow | None) -> str:
        """The fingerprint of what makes vectors while `row` is the encoder in use, or none is yet."""
        return self.encoder.open(None).fingerprint if row is None else row.fingerprint

    def fitted_to(self, texts: Sequence[str]) -> Embedded:
        """Vectors by an encoder that is fitted to the very texts (n,), unless the file has got one meanwhile.

        To be called in `write`: of two who add to a new file at once, one fits.
        """
        if self.row is not None:
            return Embedded(self.encoder.documents(texts, self.row), self.row.fingerprint)
        encoder = self.encoder.fit(texts)
        return Embedded(checked(encoder.encode_document(list(texts)), len(texts)), None, encoder)

    def row_for(self, change: Change, by: str | None, fitted: LsaEncoder | None) -> EncoderRow:
        """The encoder of vectors that are to be added; a file that has none yet gets it.

        `by` and `fitted` are as in `Embedded`.
        """
        if self.row is None:
            encoder = fitted or self.encoder.open(None)
            row = self.store.encoder_for(change, encoder.fingerprint, encoder.name, encoder.dim)
            if fitted is not None:
                fitting.keep(change.connection, row.id, fitted)
            self.store.use_encoder(change, row)
            return row
        if by is not None and by != self.row.fingerprint:
            raise EmbeddedMeanwhile(f"the memories of {self.file} were embedded anew meanwhile; add them again")
        return self.row

    def add(
        self,
        name: str,
        drafts: Sequence[Draft],
        embedded: Embedded | None,
        instead_of: int | None = None,
    ) -> list[Added]:
        """Add drafts (n,) to a namespace, or one in the place of the memory `instead_of`. To be called in `write`."""
        if embedded is None:
            embedded = self.fitted_to([one.embedded for one in drafts])
        with self.telling() as told:
            with self.store.change() as change:
                row = self.row_for(change, embedded.by, embedded.fitted)
                number = told.about(self.store.namespace_for(change, name))
                if instead_of is not None:
                    topic = self.store.topic_of(change, instead_of)
                    drafts = [dataclasses.replace(one, topic=topic) for one in drafts]
                kept = self.store.add(change, number, row.id, drafts, embedded.vectors)
                if instead_of is not None and (other := kept.superseded[0]) not in (None, instead_of):
                    raise InvalidInput(
                        f"the text would take the place of the memory {other}, not of {instead_of}, which does "
                        f"not hold then; supersede({other}, ...), or pass valid_from=..., a time at which "
                        f"{instead_of} held"
                    )
                if self.learns:
                    self.learning.note_answers(change, kept.ids.tolist(), drafts)
            self.use(row, embedded.fitted)
            self.tell(change, number, kept, embedded.vectors)
        return [Added(one, other) for one, other in zip(kept.ids.tolist(), kept.superseded, strict=True)]

    def use(self, row: EncoderRow, fitted: LsaEncoder | None) -> None:
        """What `row_for` gave is on the disk."""
        self.row = row
        if fitted is not None:
            self.encoder.know_fitted(fitted)

    def tell(self, change: Change, namespace: int, kept: Kept, vectors: FloatArray) -> None:
        """Let the namespace's index know what was added."""
        assert self.row is not None
        there = kept.findable
        self.shelves.tell(namespace, self.row, Drift(change.sequence, kept.ids[there], vectors[there], kept.gone))

    def tell_gone(self, sequence: int, namespace: int, numbers: Sequence[int]) -> None:
        """Let the namespace's index know what was taken out."""
        if self.row is not None:
            none: tuple[IdArray, FloatArray] = np.empty(0, np.int64), np.empty((0, self.row.dim), np.float32)
            self.shelves.tell(namespace, self.row, Drift(sequence, *none, np.array(numbers, dtype=np.int64)))

    @contextlib.contextmanager
    def telling(self) -> Iterator[Told]:
        """Around a write and what the indexes are told of it: where that fails, they are read anew."""
        told = Told()
        try:
            yield told
        except BaseException:
            for namespace in told.namespaces:
                self.shelves.forget(namespace)
            raise

    def scrub(self) -> bool:
        """Leave nothing of what was purged in what is derived, in unused parts of the file, nor in the log.

        False where a reader needs the log.
        """
        spaces = removal.to_scrub(self.store)
        for space in spaces:
            self.shelves.expunge(space)
            self.lexicon.forget(space)
        self.store.database.rebuild()
        if not self.store.database.empty_log():
            return False
        removal.scrubbed(self.store, spaces)
        return True

    def scrub_or_tell(self) -> None:
        """`scrub` where that can be done now; else the log says why not, and the next purge or opening does it."""
        try:
            is_done, reason = self.scrub(), "another process reads"
        except (AdaMemError, OSError) as error:
            is_done, reason = False, str(error)
        if not is_done:
            _log.warning(
                "what was taken out of %s may still be in its log, or in what lies beside it, until the next purge or "
                "opening: %s",
                self.file,
                reason,
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of texts that are to be added."""

    vectors: FloatArray
    """float32 (n, d), of length 1."""
    by: str | None
    """The fingerprint of what made them (`Core.maker`); None where that is `fitted`."""
    fitted: LsaEncoder | None = None
    """The encoder that was fitted to the texts, to be kept with them."""


class Told:
    """The namespaces that a write is about."""

    def __init__(self) -> None:
        self.namespaces: set[int] = set()

    def about(self, namespace: int) -> int:
        """Count this one among them."""
        self.namespaces.add(namespace)
        return namespace
