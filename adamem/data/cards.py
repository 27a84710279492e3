"""Cards: what is known about a data set before anything is read. They are data (TOML); this module only reads them."""

from __future__ import annotations

import shlex
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adamem.data.places import cache_folder
from adamem.errors import DataError, UnknownName
from adamem.types import Metric

Role = Literal[
    "all", "base", "queries", "learn", "base_ids", "query_ids", "corpus", "qrels", "labelled", "archive", "extra"
]
"""What a file is to its data set; `all` is one file with every part (HDF5, npz), `archive` is unpacked on fetch."""


class CardFile(BaseModel):
    """One file of a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the data set's own folder."""
    role: Role
    bytes: int | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    """Where the source publishes nothing better."""
    unpacked_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of a gzipped file's content: the same data may have been packed by another gzip."""
    url: str | None = None


class Card(BaseModel):
    """A data set's source, licence, checksums, metric, shape and reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z0-9][a-z0-9._-]*$")
    kind: Literal["vectors", "text", "labelled"]
    format: Literal["idx", "hdf5", "npy", "tsv", "files", "texts", "labelled", "passages", "pydocs", "multiplied"]
    """How it is read; `files` goes by the names of the files; `multiplied` is made of a base and noise."""
    title: str
    licence: str
    source: str
    use: str = ""
    note: str = ""
    metric: Metric | None = None
    rows: int | None = None
    query_count: int | None = None
    dim: int | None = None
    files: tuple[CardFile, ...] = ()
    columns: int | None = None
    """Of a TSV file: how many leading columns are the vector; the rest is dropped."""
    judged_by: str | None = None
    """The text collection whose qrels and query fields hold for these vectors, by their ids."""
    files_of: str | None = None
    """The data set whose files these are, where they lie under another's name."""
    noise: float | None = Field(default=None, gt=0)
    """Of a multiplied set: the length of the noise by which a copy differs from its original."""
    cut_from: str | None = None
    """The text collection whose documents are cut into passages."""
    passage_words: int | None = None
    topic_field: str | None = None
    """The field of a query that names its topic."""
    scope_field: str | None = None
    """The field of documents and queries that says whose memory they are of: a query is asked within its scope."""
    order_field: str | None = None
    """The field, a whole number, that says when: a query is asked after all documents of its scope up to its own."""
    home: Path | None = Field(default=None, exclude=True)
    """The folder of the files, where the user imported them from; cards that ship have none."""

    def file(self, role: Role) -> CardFile | None:
        """The file of that role, where there is one."""
        return next((item for item in self.files if item.role == role), None)

    def import_again(self) -> str:
        """What to do about changed files of an imported set, as the end of a sentence: nothing can fetch them."""
        again = f"adamem data import {self.name} {shlex.quote(self.source)} --replace"
        return f"import it again with `{again}` and the other options of the first time"


def card_folders() -> tuple[Path, ...]:
    """Where cards lie: inside the installed package, or the repository's `datasets`; then the user's own."""
    packaged = Path(__file__).parent / "cards"
    shipped = packaged if packaged.is_dir() else Path(__file__).parents[2] / "datasets"
    return shipped, cache_folder() / "cards"


def dataset_names() -> tuple[str, ...]:
    """The names of all data sets that have a card, sorted."""
    return tuple(sorted({path.stem for folder in card_folders() for path in folder.glob("*.toml")}))


def card(name: str) -> Card:
    """The card of a data set.

    Raises
    ------
    UnknownName
        if there is none; the message lists all.
    DataError
        if the card itself is not what a card should be.
    """
    for folder in card_folders():
        path = folder / f"{name}.toml"
        if path.is_file():
            return read_card(path)
    hint = "a path to your own file works too, or `adamem data import`"
    raise UnknownName.of("dataset", name, dataset_names(), hint=hint)


def read_card(path: Path) -> Card:
    """A card from its file; its name must be the file's."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, _changed: int) -> Card:
    try:
        found = Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML file: {error}; mend or delete it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise DataError(
            f"{path}: key {where!r} is {first.get('input')!r}: {first['msg']}; mend or delete it"
        ) from error
    if found.name != path.stem:
        raise DataError(f"{path}: key 'name' is {found.name!r}, expected the file's own name {path.stem!r}; mend it")
    return found
