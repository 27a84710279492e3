"""Keeping a memory file in order: namespaces, versions, packages, another encoder, and taking out for good."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from adamem.encoders import Encoder, open_encoder
from adamem.encoders.adaptation import Adaptation as LearntOnTop
from adamem.encoders.adaptation import open_adaptation
from adamem.encoders.registry import fitted_dim
from adamem.errors import AdaMemError, InvalidInput, StorageError, UnknownName
from adamem.files import storage_error
from adamem.memory import defragmentation, fitting, removal
from adamem.memory.arrival import Bring, take_in
from adamem.memory.clock import to_datetime
from adamem.memory.copying import copy_namespace, links_now
from adamem.memory.core import Core
from adamem.memory.drafts import check_name
from adamem.memory.encoder_in_use import checked
from adamem.memory.learning import Adaptation
from adamem.memory.packages import Package, is_package, write_package
from adamem.memory.records import Defragmented, Imported, LearningTimings, Memory, Version
from adamem.memory.reembedding import Progress, Reembedding
from adamem.memory.schema import memories, namespaces, vectors
from adamem.memory.scope import Scope
from adamem.memory.snapshots import Snapshots, no_versions
from adamem.memory.store import Change, EncoderRow

if TYPE_CHECKING:
    from adamem.encoders.lsa import LsaEncoder

T = TypeVar("T")
_log = logging.getLogger(__name__)
_PIECE = 1_000
_PATIENCE = 60.0
"""Seconds that are waited for what was given up and still embeds a last piece."""
_NEIGHBOURS = 8
"""So many of the nearest are looked at for those that are near enough to be linked."""

_MEMORIES = tuple(
    f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))" for table in ("memories", "aliases")
)
_NAMESPACE = (
    "DELETE FROM memories WHERE namespace IN (SELECT id FROM namespaces WHERE name = ?)",
    "DELETE FROM namespaces WHERE name = ?",
)
_NO_NAMESPACE = 0
"""Marks that something of the file itself is to be scrubbed, and no derived file; namespaces are numbered from 1."""


class Caretaker:
    """The verbs of `MemoryEngine` that keep order; see there."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._store = core.store
        self._reembedding = threading.Lock()
        self._snapshots = None if core.path is None else Snapshots(core.store, Path(f"{core.path}.versions"))

    # -- taking out for good -------------------------------------------------------------------------------------------

    def purge(self, number: int) -> None:
        """See `MemoryEngine.purge`."""

        def work() -> None:
            found = self._store.get(number)
            every = json.dumps(sorted(self._ids_of(number, found)))
            was_kept = self._purge_versions(_MEMORIES, every)
            if found is None:  # it was rolled back, or taken out when it had expired
                self._scrub_what_only_versions_had(was_kept)
                if was_kept:
                    return
                raise UnknownName(f"there is no memory {number}; it may have been purged already, or never added")
            with self._core.telling() as told:
                with self._store.change() as change:
                    space = told.about(removal.purge(change, found.id))
                    has_forgotten = fitting.forget_words_of(change.connection)
                if has_forgotten:
                    self._core.encoder.forget_fitted()
                self._core.tell_gone(change.sequence, space, [found.id])
            self._scrub()

        self._core.write(work)

    def delete_namespace(self, name: str) -> int:
        """See `MemoryEngine.delete_namespace`."""

        def work() -> int:
            number = self._store.namespace(name)
            # By its name: in a version, one of the same name may have another number.
            was_kept = self._purge_versions(_NAMESPACE, name)
            if number is None:
                self._scrub_what_only_versions_had(was_kept)
                return 0 if was_kept else self._number(name)  # which says that there is none
            try:
                with self._store.change() as change:
                    count = removal.purge_namespace(change, number)
                    fitting.forget_words_of(change.connection)
            finally:
                self._core.encoder.forget_fitted()
                self._store.forget_namespaces()
                self._core.shelves.forget(number)
            self._scrub()
            return count

        return self._core.write(work)

    def _ids_of(self, number: int, found: Memory | None) -> set[int]:
        """All ids of a memory: its own, those of its twins, and what versions say that these lead to and from.

        In an older version, those that were merged since are rows of their own; and in one that was rolled back from,
        rows may be merged that are apart here: those that stay here are not among them.
        """
        every = {number} if found is None else {found.id, *removal.other_ids(self._store, found.id)}
        pairs = set() if self._snapshots is None else self._snapshots.aliases()
        while more := {one for pair in pairs if not every.isdisjoint(pair) for one in pair} - every:
            if not (more := more - removal.known(self._store, more)):
                break
            every |= more
        return every

    def _scrub_what_only_versions_had(self, was_kept: bool) -> None:
        if was_kept:
            self._forget_words()
        if was_kept or removal.to_scrub(self._store):
            self._scrub()

    def _forget_words(self) -> None:
        with self._store.database.write() as connection:
            if fitting.forget_words_of(connection):
                removal.mark(connection, [_NO_NAMESPACE])
        self._core.encoder.forget_fitted()

    def _purge_versions(self, statements: Sequence[str], value: str) -> bool:
        """Delete rows from every version; whether there were any."""
        if self._snapshots is None:
            return False

        def delete(connection: sqlite3.Connection) -> bool:
            return sum(connection.execute(statement, (value,)).rowcount for statement in statements) > 0

        return self._snapshots.purge(delete)

    def _scrub(self) -> None:
        if not self._core.scrub():
            raise StorageError(
                f"it is out of {self._core.file}, but another process reads just now, so that the log that has it "
                "cannot be emptied; close that one, and open this one again"
            )

    # -- namespaces ----------------------------------------------------------------------------------------------------

    def create_namespace(self, name: str) -> None:
        """See `MemoryEngine.create_namespace`."""

        def work() -> None:
            self._require_none(name)
            with self._store.change() as change:
                self._store.namespace_for(change, name)

        self._core.write(work)

    def copy_namespace(self, source: str, target: str) -> int:
        """See `MemoryEngine.copy_namespace`."""

        def work() -> int:
            number = self._number(source)
            self._require_none(target)
            with self._store.change() as change:
                return copy_namespace(change, number, self._store.namespace_for(change, target))

        return self._core.write(work)

    def _number(self, name: str) -> int:
        number = self._store.namespace(name)
        if number is None:
            known = [one.name for one in self._store.namespaces(self._store.now())]
            raise UnknownName.of("namespace", name, known)
        return number

    def _require_none(self, name: str) -> None:
        if self._store.namespace(name) is not None:
            raise InvalidInput(f"there is a namespace {name!r} already; choose another name")

    # -- order ---------------------------------------------------------------------------------------------------------

    def defrag(self, *, near: float | None, merge: bool, progress: Progress | None) -> Defragmented:
        """See `MemoryEngine.defrag`."""
        self._core.require_writer()
        now = self._store.now()
        gone = 0
        for some in self._stepwise(defragmentation.expired(self._store, now)):
            self._core.write(lambda some=some: self._take_out(some))  # type: ignore[misc]
            gone += len(some)
        merged = 0
        for one in self._core.read(lambda: defragmentation.exact_twins(self._store, now)):
            merged += self._core.write(lambda one=one: self._merge(one))  # type: ignore[misc]
        linked = 0
        if near is not None:
            for twins, pairs, done, total in self._stepwise(self._near(near, merge=merge)):
                for some_twins in twins:
                    merged += self._core.write(lambda one=some_twins: self._merge(one))  # type: ignore[misc]
                if pairs:
                    linked += self._core.write(lambda pairs=pairs: self._link(pairs))  # type: ignore[misc]
                if progress is not None:
                    progress(done, total)
        if gone or merged:
            self._core.write(self._scrub_what_was_taken_out)
        return Defragmented(gone, merged, linked)

    def _stepwise(self, steps: Iterator[T]) -> Iterator[T]:
        """The same, each step of which is read."""
        while (step := self._core.read(lambda: next(steps, None))) is not None:
            yield step

    def _scrub_what_was_taken_out(self) -> None:
        self._forget_words()
        self._core.scrub_or_tell()

    def _take_out(self, some: Sequence[tuple[int, int]]) -> None:
        with self._core.telling() as told:
            with self._store.change() as change:
                defragmentation.take_out_expired(change, some)
            for space in sorted({space for space, _ in some}):
                self._core.tell_gone(change.sequence, told.about(space), [one for other, one in some if other == space])

    def _merge(self, twins: defragmentation.Twins) -> int:
        with self._core.telling() as told:
            # Some may have been changed meanwhile.
            there = self._store.visible(twins.namespace, [twins.stays, *twins.others], Scope(self._store.now()))
            others = [one for one in twins.others if one in there]
            if twins.stays not in there or not others:
                return 0
            with self._store.change() as change:
                defragmentation.merge(change, defragmentation.Twins(twins.namespace, twins.stays, tuple(others)))
            self._core.tell_gone(change.sequence, told.about(twins.namespace), others)
        return len(others)

    def _link(self, pairs: Sequence[tuple[int, int]]) -> int:
        with self._store.change() as change:
            return defragmentation.link(change, pairs)

    def _near(
        self, near: float, *, merge: bool
    ) -> Iterator[tuple[list[defragmentation.Twins], list[tuple[int, int]], int, int]]:
        """Piece by piece: what says the same, pairs that are near to each other; how many are done, and of how many."""
        row = self._core.known_encoder()
        if row is None:
            return
        scope = Scope(self._store.now())
        spaces = self._store.namespaces(scope.at)
        total, done = sum(one.memories for one in spaces), 0
        for space in spaces:
            number = self._store.namespace(space.name)
            if number is None:
                continue
            ids = self._store.matching(number, scope)
            for start in range(0, ids.size, _PIECE):
                piece = ids[start : start + _PIECE]
                groups: list[set[int]] = []
                pairs: set[tuple[int, int]] = set()
                for some, found in self._store.vectors(piece, row):
                    shelf = self._core.shelves.get(number, row)
                    for one, vector in zip(some.tolist(), found, strict=True):
                        others, distances = shelf.search(vector, _NEIGHBOURS)
                        close = [int(other) for other in others[1.0 - distances >= near].tolist() if other != one]
                        pairs |= {(min(one, other), max(one, other)) for other in close}
                        if close:
                            groups.append({one, *close})
                twins: list[defragmentation.Twins] = []
                if merge and groups:
                    twins = defragmentation.wordwise_twins(self._store, number, sorted(set().union(*groups)))
                taken = {other for one in twins for other in one.others}
                done += piece.size
                yield twins, sorted(pair for pair in pairs if not taken & set(pair)), min(done, total), total

    # -- another encoder -----------------------------------------------------------------------------------------------

    def reembed(self, encoder: str | Encoder, *, keep: bool, progress: Progress | None) -> int:
        """See `MemoryEngine.reembed`."""
        self._core.require_writer()
        past = self._core.past
        dim = fitted_dim(encoder) if isinstance(encoder, str) else None
        with self.alone():
            if dim is not None:
                fitted = fitting.fit(self._live_texts(), dim)
                return self._reembed(fitted, fitted, past, keep=keep, progress=progress)
            new = open_encoder(encoder) if isinstance(encoder, str) else encoder
            return self._reembed(new, None, past, keep=keep, progress=progress)

    def adapt(self, adapted: Encoder, by: Encoder, past: int, spent: LearningTimings) -> int:
        """Embed all memories anew by what an encoder has become, and search by it from then on; how many.

        `by` makes the vectors. Those of whatever else was learnt here go. It was learnt from `past`. To `spent` is
        added how long that took. To be called within `alone`.
        """
        return self._reembed(adapted, None, past, keep=True, progress=None, by=by, spent=spent)

    @contextlib.contextmanager
    def alone(self, *, wait: float = 0.0) -> Iterator[None]:
        """Around embedding anew. Raises `StorageError` where that is being done, after so many seconds."""
        if not self._reembedding.acquire(timeout=wait):
            raise StorageError(f"the memories of {self._core.file} are being embedded anew already; wait for that")
        try:
            yield
        finally:
            self._reembedding.release()

    def use_adaptation(self, number: int | None, *, progress: Progress | None) -> None:
        """See `MemoryEngine.use_adaptation`."""
        self._core.require_writer()
        past, row, learning = self._core.past, self._core.known_encoder(), self._core.learning
        if row is None:
            raise UnknownName("there is no adaptation: nothing was added to this memory yet")
        found = None if number is None else self._core.read(lambda: learning.model(number))
        if number is not None and found is None:
            known = [one.id for one in self._core.read(learning.all) if one.bytes]
            raise UnknownName(
                f"there is no adaptation {number} to use; there are: {', '.join(map(str, known)) or 'none'}"
            )
        base = self._core.read(lambda: self._base(row))
        if found is not None and found.base.fingerprint != base.fingerprint:
            raise InvalidInput(
                f"the adaptation {number} was learnt on {found.base.name}, and the memories are embedded by "
                f"{base.name}; embed them by that one first: reembed({found.base.name!r})"
            )
        learnt = encoder = self._core.encoder.open(base)
        if found is not None:
            learnt = open_adaptation(found.model).applied_to(encoder)
            checked(learnt.encode_query(["what cannot be applied is not chosen, and no search waits for the model"]), 1)
            encoder = learnt if found.moves == "both" else encoder
        # First of all: what is being learnt or embedded just now would take the place of what is chosen.
        past = self._core.write(self._core.give_up_past, past=past)
        in_use = self._core.known_encoder()
        if in_use is None or in_use.fingerprint != encoder.fingerprint:
            with self.alone(wait=_PATIENCE):
                self._reembed(encoder, None, past, keep=True, progress=progress)

        def switch() -> None:
            if self._core.row is None or self._core.row.fingerprint != encoder.fingerprint:
                raise StorageError(
                    f"the memories of {self._core.file} were embedded anew meanwhile; choose the adaptation again"
                )
            with self._store.change() as change:
                learning.settle(change)
                learning.use_for_queries(change, None if learnt is encoder else number)
            if learnt is not encoder:
                self._core.encoder.know_moving(learnt, on=encoder)
            self._core.row = self._store.encoder()
            self._core.give_up_past()  # what was begun since goes on from what was in use before

        self._core.write(switch, past=past)

    def _live_texts(self) -> Iterator[str]:
        """All that are found or are history, by id."""
        last = 0
        while some := self._core.read(lambda last=last: self._store.live_texts(after=last, count=_PIECE)):  # type: ignore[misc]
            yield from (text for _, text in some)
            last = some[-1][0]

    def _reembed(
        self,
        new: Encoder,
        fitted: LsaEncoder | None,
        past: int,
        *,
        keep: bool,
        progress: Progress | None,
        by: Encoder | None = None,
        spent: LearningTimings | None = None,
    ) -> int:
        """Embed all memories by `new`, and search by it from then on, unless the `past` is given up meanwhile."""
        spent = spent or LearningTimings()
        begun = time.perf_counter()

        def write(work: Callable[[], T]) -> T:
            return self._core.write(work, past=past)

        def begin() -> EncoderRow:
            with self._store.change() as change:
                row = self._store.encoder_for(change, new.fingerprint, new.name, new.dim)
                if fitted is not None:
                    fitting.keep(change.connection, row.id, fitted)
                    fitting.forget_words_of(change.connection)  # a text may have been purged since it was read
                return row

        row = write(begin)
        work = Reembedding(self._store, by or new, row)
        if fitted is None:
            self._core.encoder.know(new)
        else:
            self._core.encoder.know_fitted(fitted)
        count = work.embed(self._core.read, write, progress)
        embedded = time.perf_counter()
        spent.embedding += embedded - begun

        def swap() -> int:
            is_other = self._core.row != row
            # Also where it is in use already: queries may be moved, and what was learnt last may be what it is.
            with self._store.change() as change:
                more = work.finish(change.connection)
                self._store.use_encoder(change, row)
                self._core.learning.settle(change)
            self._core.row = row
            if is_other:
                self._core.shelves.forget_all()
            return more

        count += write(swap)
        switched = time.perf_counter()
        spent.switching += switched - embedded
        if not keep or by is not None:
            (work.drop_adapted if keep else work.drop_others)(self._core.read, write)
            write(lambda: self._remove_saved(row))
            spent.clearing += time.perf_counter() - switched
        return count

    def _remove_saved(self, row: EncoderRow) -> None:
        """All indexes but those of this encoder."""
        for one in self._store.namespaces(self._store.now()):
            number = self._store.namespace(one.name)
            if number is not None:
                self._core.shelves.remove_saved(number, row)

    # -- versions ------------------------------------------------------------------------------------------------------

    def snapshot(self, name: str | None) -> Version:
        """See `MemoryEngine.snapshot`."""
        if name is not None and not isinstance(name, str):
            raise InvalidInput(f"a version's name must be a string, not {type(name).__name__}")

        def work() -> Version:
            now = self._store.now()
            created = to_datetime(now)
            _, held, *_ = self._store.tally(now)
            return self._kept().take(name or f"{created:%Y-%m-%dT%H-%M-%S-%f}", created=created, memories=held)

        return self._core.write(work)

    def versions(self) -> list[Version]:
        """See `MemoryEngine.versions`."""
        self._core.require_open()
        return self._kept().all()

    def rollback(self, name: str) -> None:
        """See `MemoryEngine.rollback`."""

        def work() -> None:
            source = self._kept().database(name)
            # Also before: a search that the last rollback overtook may have left a shelf of a namespace that was empty.
            self._core.shelves.forget_all()
            try:
                self._kept().restore(source)
            finally:
                self._store.forget_namespaces()
                self._store.forget_session()
                self._core.encoder.forget_fitted()
                self._core.shelves.forget_all()
                self._core.lexicon.forget_all()
                self._core.row = self._store.encoder()
                self._core.give_up_past()
            self._core.scrub_or_tell()

        self._core.write(work)

    def remove_version(self, name: str) -> None:
        """See `MemoryEngine.remove_version`."""
        self._core.write(lambda: self._kept().remove(name))

    def _kept(self) -> Snapshots:
        if self._snapshots is None:
            raise no_versions()
        return self._snapshots

    # -- packages ------------------------------------------------------------------------------------------------------

    def export_package(self, path: Path, names: Iterable[str] | None, licence: str | None, *, adaptation: bool) -> int:
        """See `MemoryEngine.export_package`."""
        if isinstance(names, str):
            raise InvalidInput(f"namespaces must be several names, not the one string {names[:40]!r}; write a list")
        if licence is not None and not isinstance(licence, str):
            raise InvalidInput(f"licence must be a string such as 'CC-BY-4.0', not {type(licence).__name__}")
        if names is not None and not isinstance(names, Iterable):
            raise InvalidInput(f"namespaces must be several names, not {names!r}; write a list")
        wanted = None if names is None else [check_name(one, what="namespace") for one in names]
        self._require_other(Path(os.path.realpath(path)))
        if path.exists() and not is_package(path):
            raise InvalidInput(f"{path} is there and is no package of memories; choose another name, or remove it")

        def work() -> int:
            numbers = None if wanted is None else [self._number(name) for name in wanted]
            row = self._store.encoder()
            learnt = self._in_use(row) if adaptation else None
            try:
                return write_package(
                    path, self._exported(numbers, row), encoder=row, licence=licence, adaptation=learnt
                )
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise storage_error(error, path) from error

        return self._core.read(work)

    def _in_use(self, row: EncoderRow | None) -> Adaptation:
        """What the encoder has learnt and embeds by."""
        found = None
        if row is not None:
            learning, number = self._core.learning, row.adaptation
            found = learning.of_encoder(row) if number is None else learning.model(number)
        if found is None:
            raise InvalidInput("the encoder uses nothing that it has learnt; export without adaptation=True")
        return found

    def _require_other(self, path: Path) -> None:
        """Refuse to write over the memory file, or anything that lies beside it because of it."""
        own = self._core.path
        if own is not None and own.parent in path.parents:
            first = path.relative_to(own.parent).parts[0]
            if first in {
                f"{own.name}{end}" for end in ("", "-wal", "-shm", "-journal", ".lock", ".index", ".versions")
            }:
                raise InvalidInput(f"{path} belongs to the memories themselves; choose another name for the package")

    def _exported(self, numbers: Sequence[int] | None, row: EncoderRow | None) -> Iterator[tuple[str, Any, bytes]]:
        if row is None:
            return
        said = [column for column in memories.columns if column.name != "links"]
        query = (
            select(*said, links_now().label("links"), namespaces.c.name.label("space"), vectors.c.vector)
            .join(namespaces, namespaces.c.id == memories.c.namespace)
            .join(vectors, vectors.c.memory == memories.c.id)
            .where(memories.c.deleted.is_(None), vectors.c.encoder == row.id)
            .order_by(memories.c.id)
        )
        if numbers is not None:
            query = query.where(memories.c.namespace.in_(numbers))
        # In one transaction: whatever is written meanwhile is not in it.
        with self._store.database.read() as connection:
            for found in connection.execution_options(yield_per=_PIECE).execute(query):
                yield found.space, found, found.vector

    def import_package(self, path: Path, into: str | None, most_bytes: int) -> Imported:
        """See `MemoryEngine.import_package`."""
        self._core.require_writer()
        package = Package(path, most_bytes=most_bytes)
        try:
            model = None if package.adapted is None else open_adaptation(package.adaptation())
            return take_in(self._core, package, into, None if model is None else self._bringing(model))
        finally:
            package.close()

    def _bringing(self, model: LearntOnTop) -> Bring | None:
        """Keeps what an encoder has learnt elsewhere; None, and the log says why, where it does not fit this file's."""
        row = self._core.known_encoder()
        try:
            base = self._core.encoder.open(None if row is None else self._core.read(lambda: self._base(row)))
            adapted = model.applied_to(base).fingerprint
        except AdaMemError as error:  # another encoder, or one whose library is not here
            _log.warning("what the package's encoder has learnt is left out: %s", error)
            return None

        def bring(change: Change) -> int:
            row = self._store.encoder_for(change, base.fingerprint, base.name, base.dim)
            return self._core.learning.bring(change, row, model, adapted)

        return bring

    def _base(self, row: EncoderRow) -> EncoderRow:
        """The encoder that learns: the one in use, or what that was adapted from."""
        learnt = self._core.learning.of_encoder(row)
        return row if learnt is None else learnt.base
