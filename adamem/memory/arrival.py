"""The memories of a package taken in, a piece at a time: however many there are, a thousand are held at once.

All of them are looked at before anything is written. Vectors that have to be made wait in a file that nobody sees, so
that others may write while an encoder works. Then all is one write.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from adamem.files import storage_error
from adamem.memory.copying import follow, foreign
from adamem.memory.core import Core, EmbeddedMeanwhile
from adamem.memory.drafts import embedded_text
from adamem.memory.encoder_in_use import checked
from adamem.memory.packages import Package, Packed
from adamem.memory.records import Frozen, Imported
from adamem.memory.store import Change
from adamem.types import FloatArray, IdArray

if TYPE_CHECKING:
    from adamem.encoders.lsa import LsaEncoder

_PIECE = 1_000
Vectors = Callable[[], Iterator[FloatArray]]
"""Gives pieces float32 (at most 1,000, d), in the order of the package, of length 1."""
Bring = Callable[[Change], int]
"""Keeps what the package's encoder has learnt; its number."""


@dataclass(slots=True)
class _Brought:
    """What came into one namespace."""

    is_new: bool
    ids: list[IdArray] = field(default_factory=list)
    gone: list[IdArray] = field(default_factory=list)


def take_in(core: Core, package: Package, into: str | None, bring: Bring | None) -> Imported:
    """See `MemoryEngine.import_package`. Raises whatever is wrong with the package, before anything is written."""
    while True:
        with contextlib.suppress(EmbeddedMeanwhile):  # as an addition does, it begins again
            return _take_in(core, package, into, bring)


def _take_in(core: Core, package: Package, into: str | None, bring: Bring | None) -> Imported:
    row = core.known_encoder()
    if not package.count:
        _names(package.memories(), into)
        return Imported(0, (), Frozen(), None if bring is None else core.write(lambda: _brought(core, bring)))
    if row is None and core.encoder.must_be_fitted:
        return core.write(lambda: _take_in_fitted(core, package, into, bring))
    by = core.maker(row)
    if package.fingerprint == by:
        names = _names(package.memories(), into)
        for piece in package.vectors(_PIECE):
            core.encoder.given(piece, len(piece), row)
        return core.write(lambda: _keep(core, package, into, bring, names, lambda: _whole(package), by))
    with _Spool(core.path) as spool:
        names = _names(_embedded(package, spool, lambda texts: core.encoder.documents(texts, row)), into)
        return core.write(lambda: _keep(core, package, into, bring, names, spool.read, by))


def _take_in_fitted(core: Core, package: Package, into: str | None, bring: Bring | None) -> Imported:
    """Into a file that has no encoder yet, by one that is fitted to the package. To be called in `Core.write`."""
    if core.row is not None:  # it has got one meanwhile
        return _take_in(core, package, into, bring)
    encoder = core.encoder.fit(text for some in _pieces(package.memories()) for text in _texts(some))
    with _Spool(core.path) as spool:
        names = _names(_embedded(package, spool, encoder.encode_document), into)
        return _keep(core, package, into, bring, names, spool.read, None, encoder)


def _keep(
    core: Core,
    package: Package,
    into: str | None,
    bring: Bring | None,
    names: Iterable[str],
    vectors: Vectors,
    by: str | None,
    fitted: LsaEncoder | None = None,
) -> Imported:
    """Write it all, and tell the indexes. To be called in `Core.write`."""
    store, ids = core.store, dict[int, int]()
    brought: dict[int, _Brought] = {}
    with core.telling() as told:
        known = {name: store.namespace(name) for name in names}
        if core.row is not None:
            for number in known.values():
                if number is not None:
                    # Before it is written: an index that is opened afterwards would read all of it at once.
                    core.shelves.get(told.about(number), core.row)
        with store.change() as change:
            first = change.last_memory + 1
            row = core.row_for(change, by, fitted)
            for some, made in zip(_pieces(package.memories()), vectors(), strict=True):
                places: dict[str, list[int]] = {}
                for place, one in enumerate(some):
                    places.setdefault(one.namespace if into is None else into, []).append(place)
                for name, here in places.items():
                    space = told.about(store.namespace_for(change, name))
                    rows = [foreign(some[place].row, change) for place in here]
                    given = change.last_memory + 1 + np.array(here)
                    kept = store.insert(change, space, row.id, rows, made[here], ids=given, brought_from=first)
                    ids.update(zip((some[place].number for place in here), kept.ids.tolist(), strict=True))
                    arrived = brought.setdefault(space, _Brought(known.get(name) is None))
                    arrived.ids.append(kept.ids[kept.findable])
                    arrived.gone.append(kept.gone)
                change.last_memory += len(some)
            follow(change, ids, are_foreign=True)
            adaptation = None if bring is None else bring(change)
        core.use(row, fitted)
        for space, arrived in brought.items():
            gone = np.unique(np.concatenate(arrived.gone))
            # One that another of the package took the place of was never there.
            there = np.setdiff1d(np.concatenate(arrived.ids), gone)
            core.shelves.tell_kept(space, row, change.sequence, there, gone[gone < first], is_new=arrived.is_new)
    return Imported(len(ids), tuple(names), Frozen(ids), adaptation)


def _brought(core: Core, bring: Bring) -> int:
    with core.store.change() as change:
        return bring(change)


class _Spool:
    """Vectors on the disk, in a file without a name: gone with the process, whatever becomes of it."""

    def __init__(self, beside: Path | None) -> None:
        self._beside = beside
        self._dim = 0

    def __enter__(self) -> _Spool:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=None if self._beside is None else self._beside.parent)
        except OSError as error:
            raise self._sentence(error) from error
        return self

    def __exit__(self, *said: object) -> None:
        self._file.close()

    def write(self, vectors: FloatArray) -> None:
        """Put a piece float32 (m, d) behind the others."""
        self._dim = vectors.shape[1]
        try:
            self._file.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
        except OSError as error:
            raise self._sentence(error) from error

    def read(self) -> Iterator[FloatArray]:
        """All of them, in pieces."""
        self._file.seek(0)
        while piece := self._file.read(4 * self._dim * _PIECE):
            yield np.frombuffer(piece, dtype=np.float32).reshape(-1, self._dim)

    def _sentence(self, error: OSError) -> Exception:
        return storage_error(error, self._beside or Path(tempfile.gettempdir()))


def _whole(package: Package) -> Iterator[FloatArray]:
    for piece in package.vectors(_PIECE):
        yield checked(piece, len(piece))


def _embedded(package: Package, spool: _Spool, embed: Callable[[list[str]], FloatArray]) -> Iterator[Packed]:
    """The package's memories, once their vectors are in the spool."""
    for some in _pieces(package.memories()):
        spool.write(checked(embed(_texts(some)), len(some)))
        yield from some


def _names(memories: Iterable[Packed], into: str | None) -> tuple[str, ...]:
    """The namespaces that they go to, each where it comes up first; all memories are looked at."""
    found = dict.fromkeys(one.namespace for one in memories)
    return tuple(found) if into is None or not found else (into,)


def _texts(packed: Iterable[Packed]) -> list[str]:
    return [embedded_text(one.row["question"], one.row["text"]) for one in packed]


def _pieces(memories: Iterable[Packed]) -> Iterator[list[Packed]]:
    rest = iter(memories)
    while some := list(itertools.islice(rest, _PIECE)):
        yield some
