"""The seam between AdaMem and any vector index: what an index is, and the rules of the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from adamem.index.filter import IdFilter
from adamem.types import FloatArray, IdArray, Metric, ParamValue


class SearchResult(NamedTuple):
    """What a search returns: one row a query, nearest first, ties by id.

    A row with fewer than k answers ends in id -1 at distance +inf.
    """

    ids: IdArray
    """int64, shape (q, k): the caller's own labels."""
    distances: FloatArray
    """float32, shape (q, k): smaller is closer (see `adamem.types.Metric`)."""


@dataclass(frozen=True, slots=True)
class Param:
    """One build or search parameter, under its standard name.

    A parameter with `effort` buys recall with time as it grows; the harness calibrates along the first such one.
    `sweep` holds the values that `adamem compare` tries without being told.
    """

    name: str
    default: ParamValue
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[ParamValue, ...] = ()
    sweep: tuple[ParamValue, ...] = ()
    effort: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an index can do. Whatever is not declared raises `UnsupportedOperation`."""

    metrics: tuple[Metric, ...]
    insert: bool = False
    delete: bool = False
    replace: bool = False
    filter: bool = False
    save: bool = False
    threadsafe_search: bool = True
    """Several threads may search one index at once, each with parameters of its own."""
    search_beside_updates: bool = False
    """They may do so beside one that inserts, deletes, replaces or maintains, and never see a change half done."""
    deterministic: bool = True
    """Equal input, seed and one build thread give an index that answers equally."""
    seeded: bool = True
    """The build depends on the seed."""
    exact: bool = False
    """Every answer is the true one."""
    exact_distances: bool = True
    """Reported distances are those of the vectors, up to float32 rounding; False for codes without re-ranking."""


@runtime_checkable
class Index(Protocol):
    """A vector index. Implement these members, name the class in the entry-point group ``adamem.indexes``: that is all.

    Rules of the exchange
    ---------------------
    * Vectors are float32 of shape (n, d), C-contiguous; ids are the caller's int64 labels, unique and >= 0.
    * The index copies what it keeps: the caller may overwrite its arrays after any call returns.
    * Distances follow `adamem.types.Metric`; rows are sorted by (distance, id), padded with (-1, +inf).
    * Search parameters come with each call, never as state, so that a measured point is pure.
    * One call to `search` uses one thread, the caller's; several threads may call at once where
      `Capabilities.threadsafe_search` says so. `build` uses up to `threads` threads and then gives them back.
    * Writers (`insert`, `delete`, `replace`, `maintain`) are called by one thread at a time and not beside `save`, nor
      beside readers but where `Capabilities.search_beside_updates` says so.
    * Bad input raises `InvalidInput` before native code sees it; what an index cannot do raises
      `UnsupportedOperation`. `adamem.index.IndexBase` does both for its subclasses.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    build_params: ClassVar[tuple[Param, ...]]
    search_params: ClassVar[tuple[Param, ...]]

    @classmethod
    def build(
        cls,
        vectors: FloatArray,
        ids: IdArray,
        *,
        metric: Metric,
        params: Mapping[str, ParamValue] | None = None,
        seed: int = 0,
        threads: int = 1,
    ) -> Self:
        """Build over `vectors` (n, d) labelled `ids` (n,); every parameter left out takes its default."""
        ...

    def search(
        self,
        queries: FloatArray,
        k: int,
        *,
        params: Mapping[str, ParamValue] | None = None,
        filter: IdFilter | None = None,  # noqa: A002 -- the field's own name for it
    ) -> SearchResult:
        """The k nearest of `queries` (q, d) or (d,), among the ids that `filter` admits."""
        ...

    def insert(self, vectors: FloatArray, ids: IdArray) -> None:
        """Add vectors under new ids; an id that is present is an error."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Forget these ids; one that is absent is an error."""
        ...

    def replace(self, vectors: FloatArray, ids: IdArray) -> None:
        """Give present ids new vectors."""
        ...

    def needs_maintenance(self) -> bool:
        """Whether `maintain` would make the index smaller or faster."""
        ...

    def maintain(self) -> None:
        """Consolidate: drop what was deleted, restore speed and recall."""
        ...

    def nbytes(self) -> dict[str, int]:
        """Bytes held, by part (``vectors``, ``graph``, ``codes``, ``ids`` ...)."""
        ...

    def save(self, path: Path) -> None:
        """Write the index into the folder `path`; a kill meanwhile leaves what was there before."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; altered or truncated files are refused with a sentence."""
        ...

    def counters(self) -> dict[str, int]:
        """Deterministic cost so far (``distances``, ``hops`` ...), of which differences count; empty where none is.

        A library may count for the whole process: the harness gives each index a process of its own.
        """
        ...

    def __len__(self) -> int:
        """How many ids the index holds."""
        ...
