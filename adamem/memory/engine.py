"""`MemoryEngine`: the one object that a program keeps its memories with."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from adamem.encoders import Encoder, open_encoder
from adamem.errors import InvalidInput, StorageError, UnknownName
from adamem.index import check_count, check_metric, check_params, check_vectors, index_class
from adamem.memory.clock import Clock, system_clock
from adamem.memory.drafts import NewMemory, check_draft, check_memory_id, check_name, check_text, check_whole
from adamem.memory.index_files import IndexFiles
from adamem.memory.indexed import IndexKind
from adamem.memory.records import Added, Hit, Json, Memory
from adamem.memory.shelves import Shelves
from adamem.memory.store import Change, Drift, EncoderRow, Store
from adamem.memory.timeline import slot_topic
from adamem.types import FloatArray, ParamValue

DEFAULT_NAMESPACE = "global"
"""Where memories go that name no namespace, unless the environment variable DEFAULT_NS says another one."""
_PAGE = 500
_TRIES = 20
"""So often a search is begun anew that a write has overtaken."""


class MemoryEngine:
    """Keeps any number of memories in one file and finds the few that matter for a query. No server, no network.

    What a method that changes something returns is on the disk (synchronous=FULL), and the next search finds it. One
    engine writes a file at a time, and any number read it; all methods may be called from several threads. An interrupt
    (Ctrl-C) in the middle of a call is for the end of the program: whoever catches it opens the engine anew, and
    ``":memory:"`` may be lost by it. What was acknowledged in a file is not.

    Parameters
    ----------
    path
        The SQLite file, made if it is absent; ``":memory:"`` keeps everything in memory, until the engine is closed.
        Beside it lie ``PATH.index/``, indexes that are derived from it and may be deleted, and ``PATH.lock``.
    encoder
        A name as `open_encoder` takes it (``minilm``, ``hashing``, ``owner/model``, a folder), or an `Encoder`. None
        means the file's own; for a new file the one that EMBED_MODEL names. It is loaded when it is first needed.
    index
        The name of a registered index, which must take the metric cosine.
    index_params, search_params
        Its parameters; what is left out takes the index's own defaults.
    default_namespace
        For calls that name none; else DEFAULT_NS, else ``global``.
    readonly
        Read only, beside whoever writes.
    wait
        Seconds to wait for another engine to close that writes the file.
    tail
        How many vectors may be scanned because the index was not told of them yet; a writer waits past that.
    threads
        For building indexes, which is done beside everything else.
    clock
        Gives the time. Where it goes back, times that are written stand still.

    Raises
    ------
    StorageError
        if the file cannot be opened, or another engine writes it.
    DataError
        if the file is something else, or of a newer version.
    CorruptResult
        if it is damaged; it stays as it is.
    UnknownName, InvalidInput
        for an index, a parameter or a namespace that is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoder: str | Encoder | None = None,
        index: str = "spiral",
        index_params: Mapping[str, ParamValue] | None = None,
        search_params: Mapping[str, ParamValue] | None = None,
        default_namespace: str | None = None,
        readonly: bool = False,
        wait: float = 0.0,
        tail: int = 20_000,
        threads: int = 1,
        clock: Clock = system_clock,
    ) -> None:
        kind = _kind(index, index_params, search_params)
        self._default = check_name(
            default_namespace or os.environ.get("DEFAULT_NS", "").strip() or DEFAULT_NAMESPACE, what="namespace"
        )
        room, threads = check_whole(tail, what="tail"), check_count(threads, what="threads")
        # Where it is now, and not under another name: the lock stands for the file itself.
        self._path = (
            None if str(path) == ":memory:" else Path(os.path.realpath(check_name(os.fspath(path), what="path")))
        )
        if self._path is None and readonly:
            raise InvalidInput('":memory:" is empty when it is opened, and with readonly=True nothing could be added')
        self._readonly = readonly
        self._spec = encoder
        self._encoder: Encoder | None = None
        self._writing = threading.RLock()
        self._opening = threading.RLock()
        self._closed = False
        self._store = Store(self._path, readonly=readonly, wait=wait, clock=clock)
        try:
            self._row = self._store.encoder()
        except BaseException:
            self._store.close()
            raise
        files = None if self._path is None else IndexFiles(Path(f"{self._path}.index"))
        self._shelves = Shelves(self._store, files, kind, room=room, threads=threads, writes=not readonly)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- changing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        text: str,
        *,
        namespace: str | None = None,
        type: str = "fact",  # noqa: A002 -- the field's own name for it
        slot: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        keywords: Iterable[str] = (),
        links: Iterable[int] = (),
        credibility: float = 1.0,
        valid_from: datetime | None = None,
        ttl: timedelta | None = None,
        vector: npt.ArrayLike | None = None,
    ) -> Added:
        """Remember a text.

        A memory with a `slot` takes the place of the one that holds in that slot of its namespace, which stays as its
        history; one whose `valid_from` is older than that becomes history itself.

        Parameters
        ----------
        text
            Kept verbatim.
        namespace
            Where it belongs; the default one where it is None.
        type
            What kind of memory it is: any name.
        slot
            What the fact is of, such as ``home.city``.
        metadata
            Names and JSON values.
        keywords
            Any number of words that stand for it.
        links
            Ids of other memories.
        credibility
            From 0 to 1.
        valid_from
            Since when it holds, with a time zone; now, where it is None.
        ttl
            How long it is found from now on; for ever, where it is None.
        vector
            Its vector (d,), where the caller has it already: of any length, it is scaled to 1.

        Raises
        ------
        InvalidInput
            for anything that cannot be kept; nothing is written then.
        StorageError
            if it cannot be written; nothing is.
        """
        new = NewMemory(
            text=text,
            type=type,
            slot=slot,
            metadata=metadata,
            keywords=keywords,
            links=links,
            credibility=credibility,
            valid_from=valid_from,
            ttl=ttl,
        )
        return self.add_many([new], namespace=namespace, vectors=_one(vector))[0]

    def update(
        self,
        question: str,
        answer: str,
        *,
        namespace: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        vector: npt.ArrayLike | None = None,
    ) -> Added:
        """Remember what the answer to a question is; it takes the place of an earlier answer to the same question.

        Questions are the same if they differ in case, spacing, quotes and the punctuation that ends words at most. The
        answer is the memory's text; question and answer are embedded together.
        """
        new = NewMemory(text=answer, type="answer", question=question, metadata=metadata)
        return self.add_many([new], namespace=namespace, vectors=_one(vector))[0]

    def add_many(
        self,
        memories: Iterable[NewMemory | str],
        *,
        namespace: str | None = None,
        vectors: npt.ArrayLike | None = None,
    ) -> list[Added]:
        """Remember several in one write: all of them are kept, or none.

        Parameters
        ----------
        memories
            Texts, or `NewMemory` for more than a text. Of two of one slot, the later one arrives later.
        namespace
            Where they belong.
        vectors
            Theirs (n, d), where the caller has them already.
        """
        if isinstance(memories, str):
            raise InvalidInput("add_many takes several memories, not one string; write add(...), or a list")
        given = [NewMemory(text=one) if isinstance(one, str) else one for one in memories]
        drafts = [check_draft(one) for one in given]
        name = self._namespace(namespace)
        if not drafts:
            return []
        with self._write():
            if vectors is None:
                embedded = _checked(self._open_encoder().encode_document([one.embedded for one in drafts]), len(drafts))
            else:
                embedded = _checked(vectors, len(drafts))
            self._check_dim(embedded)
            number = None
            try:
                with self._store.change() as change:
                    row = self._row or self._adopt(change)
                    number = self._store.namespace_for(change, name)
                    kept = self._store.add(change, number, row.id, drafts, embedded)
                self._row = row
                there = kept.findable
                self._shelves.tell(number, row, Drift(change.sequence, kept.ids[there], embedded[there], kept.gone))
            except BaseException:
                self._shelves.forget(number)
                raise
            return [Added(one, other) for one, other in zip(kept.ids.tolist(), kept.superseded, strict=True)]

    def delete(self, memory: int) -> None:
        """Hide a memory from every search; `restore` brings it back. Raises `UnknownName` if there is none.

        What it superseded stays superseded: the times for which facts hold are as they were when they were added.
        """
        self._set_deleted(memory, deleted=True)

    def restore(self, memory: int) -> None:
        """Bring back a memory that was deleted."""
        self._set_deleted(memory, deleted=False)

    # -- reading -------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | None = None,
        *,
        namespace: str | None = None,
        top_k: int = 4,
        vector: npt.ArrayLike | None = None,
    ) -> list[Hit]:
        """The memories of a namespace that are nearest to a query, nearest first; those of equal score by id.

        Found is what holds now: neither deleted, nor superseded, nor expired. A namespace that holds nothing gives [].

        Parameters
        ----------
        query
            What is asked; embedded as a query.
        namespace
            Where to search; the default one where it is None.
        top_k
            How many at most.
        vector
            The query's vector (d,), in place of or beside `query`.
        """
        name = self._namespace(namespace)
        wanted = check_whole(top_k, what="top_k")
        self._require_open()
        if vector is None and query is None:
            raise InvalidInput("a search needs a query; pass what is asked, or vector=... where it is embedded already")
        if query is not None:
            check_text(query, what="query")
        given = _one(vector)
        number, row = self._store.namespace(name), self._known_encoder()
        if number is None or row is None:
            return []
        shelf = self._shelves.get(number, row)
        if len(shelf) == 0:
            return []
        asked = _checked(self._open_encoder().encode_query([query or ""]) if given is None else given, 1)
        self._check_dim(asked)
        for _ in range(_TRIES):
            asking, told, now = wanted, shelf.sequence, self._store.now()
            while True:
                ids, distances = shelf.search(asked[0], asking)
                found = self._store.visible(number, name, ids.tolist(), now)
                if len(found) >= wanted or ids.size < asking:
                    break
                asking *= 4  # some were deleted, superseded or expired since the index was told of them
            if len(found) == ids.size or told == self._store.sequence():
                break
            # Something was written meanwhile: what took the place of one that is gone may not have been asked yet.
            self._shelves.refresh(number)
        near = [(one, 1.0 - float(d)) for one, d in zip(ids.tolist(), distances, strict=True) if one in found][:wanted]
        return [
            Hit(memory=found[one], score=score, rank=rank, parts={"vector": score})
            for rank, (one, score) in enumerate(near, start=1)
        ]

    def get(self, memory: int) -> Memory:
        """A memory by its id, in whatever state it is. Raises `UnknownName` if there is none."""
        self._require_open()
        found = self._store.get(check_memory_id(memory))
        if found is None:
            raise UnknownName(f"there is no memory {memory}; it may have been purged, or never added")
        return found

    def get_all(self, *, namespace: str | None = None) -> Iterator[Memory]:
        """All memories of a namespace that hold when the first is asked for, by id, read in pieces."""
        name = self._namespace(namespace)
        self._require_open()
        number, now, last = self._store.namespace(name), self._store.now(), 0
        while number is not None and (page := self._store.page(number, name, after=last, count=_PAGE, at=now)):
            yield from page
            last = page[-1].id
            self._require_open()

    def history(self, slot: str, *, namespace: str | None = None) -> list[Memory]:
        """Whatever was in a slot and will be, in the order in which it holds: each until its `valid_to`."""
        name = self._namespace(namespace)
        self._require_open()
        number = self._store.namespace(name)
        topic = slot_topic(check_name(slot, what="slot"))
        return [] if number is None else self._store.of_topic(number, name, topic)

    def count(self, *, namespace: str | None = None) -> int:
        """How many memories of a namespace hold now."""
        name = self._namespace(namespace)
        self._require_open()
        number = self._store.namespace(name)
        return 0 if number is None else self._store.count(number, self._store.now())

    # -- the end -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when the indexes have all that was added. Nothing waits for this: searches find it all anyway."""
        self._require_open()
        self._shelves.flush()

    def close(self) -> None:
        """Save the indexes and let another engine write the file. Nothing that was acknowledged depends on it."""
        with self._writing:
            if self._closed:
                return
            self._closed = True
            try:
                self._shelves.close()
            finally:
                self._store.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _namespace(self, namespace: str | None) -> str:
        return self._default if namespace is None else check_name(namespace, what="namespace")

    def _require_open(self) -> None:
        if self._closed:
            raise StorageError(f"the memory {self._path or ':memory:'} is closed; open it again with MemoryEngine(...)")

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        with self._writing:
            self._require_open()
            if self._readonly:
                raise StorageError(f"{self._path} was opened for reading; open it without readonly=True to change it")
            yield

    def _set_deleted(self, memory: int, *, deleted: bool) -> None:
        number = check_memory_id(memory)
        with self._write():
            namespaces: set[int] = set()
            try:
                with self._store.change() as change:
                    namespaces = (self._store.delete if deleted else self._store.restore)(change, [number])
                for namespace in namespaces:
                    self._shelves.refresh(namespace)
            except BaseException:
                for namespace in namespaces:
                    self._shelves.forget(namespace)
                raise

    def _known_encoder(self) -> EncoderRow | None:
        """The encoder whose vectors are in the file, if there are any yet."""
        if self._row is None:
            self._row = self._store.encoder()  # another process may have written it
        return self._row

    def _open_encoder(self) -> Encoder:
        with self._opening:
            if self._encoder is None:
                spec = self._spec
                if spec is None and self._row is not None:
                    spec = self._row.name
                encoder = open_encoder(spec) if spec is None or isinstance(spec, str) else spec
                if self._row is not None and encoder.fingerprint != self._row.fingerprint:
                    raise InvalidInput(
                        f"{self._path} holds vectors of the encoder {self._row.name} ({self._row.fingerprint[:12]}), "
                        f"which cannot be compared with those of {encoder.name} ({encoder.fingerprint[:12]}); "
                        f"open it with encoder={self._row.name!r}"
                    )
                self._encoder = encoder
            return self._encoder

    def _adopt(self, change: Change) -> EncoderRow:
        """The encoder of a file that has none yet."""
        encoder = self._open_encoder()
        return self._store.use_encoder(change, encoder.fingerprint, encoder.name, encoder.dim)

    def _check_dim(self, vectors: FloatArray) -> None:
        dim = self._open_encoder().dim if self._row is None else self._row.dim
        if vectors.shape[1] != dim:
            raise InvalidInput(
                f"the vectors have {vectors.shape[1]} dimensions, but the encoder of {self._path or ':memory:'} "
                f"makes {dim}; embed them with the same one"
            )


def _kind(name: str, build: Mapping[str, ParamValue] | None, search: Mapping[str, ParamValue] | None) -> IndexKind:
    """The index, once it is known that it exists, compares by cosine, and takes these parameters."""
    cls = index_class(name)
    check_metric("cosine", cls.capabilities.metrics, name)
    check_params(build, cls.build_params, index=name, stage="build")
    check_params(search, cls.search_params, index=name, stage="search")
    return IndexKind(name, dict(build or {}), dict(search or {}))


def _one(vector: npt.ArrayLike | None) -> npt.NDArray[np.generic] | None:
    if vector is None:
        return None
    given = np.asarray(vector)
    if given.ndim != 1:
        raise InvalidInput(f"vector must have the shape (d,), not {given.shape}; pass several to add_many(vectors=...)")
    return given[None, :]


def _checked(vectors: npt.ArrayLike, count: int) -> FloatArray:
    """Vectors as float32 (count, d), scaled to length 1."""
    found = check_vectors(vectors, metric="cosine")
    if found.shape[0] != count:
        raise InvalidInput(f"{count} memories came with {found.shape[0]} vectors; pass one a memory")
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found, dtype=np.float64))[:, None]
    return np.asarray(found / lengths, dtype=np.float32)
