"""Opening the files of a vector data set: by its card's roles, or by the names of one's own files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from adamem.data.cards import Card
from adamem.data.formats.flat import open_flat
from adamem.data.formats.hdf5 import open_hdf5
from adamem.data.formats.idx import open_idx
from adamem.data.formats.npy import open_npy, open_npz
from adamem.data.formats.parquet import open_parquet
from adamem.data.formats.source import VectorParts, VectorSource
from adamem.data.formats.texmex import open_texmex
from adamem.data.formats.tsv import open_tsv
from adamem.data.multiplied import multiplied
from adamem.errors import DataError, UnknownName

_MATRICES: dict[str, Callable[[Path], VectorSource]] = {
    ".npy": open_npy,
    **dict.fromkeys((".fvecs", ".bvecs", ".ivecs"), open_texmex),
    **dict.fromkeys((".fbin", ".f16bin", ".u8bin", ".i8bin", ".ibin"), open_flat),
    **dict.fromkeys((".tsv", ".csv", ".txt"), open_tsv),
    **dict.fromkeys(("-ubyte", ".idx"), open_idx),
    ".parquet": open_parquet,
}
_BUNDLES: dict[str, Callable[[Path], VectorParts]] = {".npz": open_npz, ".hdf5": open_hdf5, ".h5": open_hdf5}
# In a folder of one's own: the stem of a file, or what it ends in, says what it is.
_STEMS = {
    "base": ("base", "train", "vectors", "train-images-idx3"),
    "queries": ("queries", "query", "test", "t10k-images-idx3"),
    "learn": ("learn",),
}


def open_card(card: Card, folder: Path, *, limit: int | None = None) -> VectorParts:
    """What a vector set's files hold, by their roles on the card; its metric where the files have none.

    A set that is made rather than read is made no longer than the first `limit` rows.

    Raises
    ------
    DataError
        if a file is not of its format.
    """
    used = tuple(folder / item.path for item in card.files if item.role not in ("archive", "extra"))
    bundle = card.file("all")
    if bundle is not None:
        held = open_file(folder / bundle.path)
        apart = card.file("queries")
        queries = _matrix(folder / apart.path) if apart is not None else held.queries
        return VectorParts(held.base, queries, held.learn, card.metric or held.metric, files=used)
    opened = {
        item.role: open_tsv(folder / item.path, card.columns) if card.format == "tsv" else _matrix(folder / item.path)
        for item in card.files
        if item.role in ("base", "queries", "learn")
    }
    if card.format == "multiplied":
        if card.rows is None or card.query_count is None or card.noise is None:
            raise DataError(
                f"card {card.name!r} lacks 'rows', 'query_count' or 'noise'; expected all three; mend the card"
            )
        rows = card.rows if limit is None else min(limit, card.rows)
        return multiplied(opened["base"], rows, queries=card.query_count, noise=card.noise, metric=card.metric)
    names = {item.role: _names(folder / item.path) for item in card.files if item.role in ("base_ids", "query_ids")}
    return VectorParts(
        opened["base"],
        opened.get("queries"),
        opened.get("learn"),
        card.metric,
        names.get("base_ids"),
        names.get("query_ids"),
        used,
    )


def open_file(path: Path) -> VectorParts:
    """One file of one's own: a bundle with all parts, or a matrix that is the base.

    Raises
    ------
    DataError
        if its suffix is unknown, or it is not of the format that its suffix names.
    """
    bundle = _BUNDLES.get(_suffix(path))
    if bundle is not None:
        return bundle(path)
    return VectorParts(_matrix(path), files=(path,))


def open_files(folder: Path) -> VectorParts | None:
    """A folder of one's own with a file for every part, such as base.npy and queries.npy; None if it has no base.

    `base_ids.json` and `query_ids.json` (lists of strings) name the rows, where they are there.

    Raises
    ------
    DataError
        if two files claim to be the same part, or one is not of its format.
    """
    found = {part: _one(folder, part) for part in _STEMS}
    if found["base"] is None:
        return None
    sources = {part: _matrix(path) for part, path in found.items() if path is not None}
    names = {part: folder / f"{part}_ids.json" for part in ("base", "query")}
    files = [path for path in found.values() if path is not None]
    files += [path for path in names.values() if path.is_file()]
    return VectorParts(
        sources["base"],
        sources.get("queries"),
        sources.get("learn"),
        None,
        _names(names["base"]) if names["base"].is_file() else None,
        _names(names["query"]) if names["query"].is_file() else None,
        tuple(files),
    )


def is_bundle(path: Path) -> bool:
    """Whether a file of this name may hold more than the base."""
    return _suffix(path) in _BUNDLES


def is_path(name: str | Path) -> bool:
    """Whether this is surely a path and no data set's name: it is a `Path`, holds a separator, or ends like a file."""
    if isinstance(name, Path) or "/" in name or os.sep in name:
        return True
    return _suffix(Path(name)) in _MATRICES or is_bundle(Path(name))


def absent(path: str | Path) -> UnknownName:
    """The error that says so of a path."""
    if Path(path).expanduser().is_absolute():
        return UnknownName(f"there is no file or folder {path}; check the path, or name a set that has a card")
    return UnknownName(
        f"there is no file or folder {path}: a path is looked up from the current directory; check it, name a set that "
        "has a card, or go to the directory where the run that names it was made"
    )


def suffixes() -> tuple[str, ...]:
    """What the name of a vector file may end in."""
    return tuple(sorted({*_MATRICES, *_BUNDLES} - {"-ubyte"}))


def _one(folder: Path, part: str) -> Path | None:
    def is_it(path: Path) -> bool:
        if _suffix(path) not in _MATRICES or not path.is_file():
            return False
        stem = path.name.removesuffix(".gz").removesuffix(_suffix(path))
        return any(stem == name or stem.endswith(f"_{name}") for name in _STEMS[part])

    found = sorted(path for path in folder.iterdir() if is_it(path))
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder}: {names} both claim to be the {part}; leave one there, or name the file itself")
    return found[0] if found else None


def _suffix(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return "-ubyte" if name.endswith("-ubyte") else Path(name).suffix.lower()


def _matrix(path: Path) -> VectorSource:
    opener = _MATRICES.get(_suffix(path))
    if opener is None or (path.suffix == ".gz" and opener is not open_idx):
        raise DataError(
            f"{path}: files that end in {''.join(path.suffixes[-2:])!r} are not read; expected one of "
            f"{', '.join(suffixes())}, or a text collection; convert it, for instance with np.save"
        )
    if not path.stat().st_size:
        raise DataError(f"{path} is an empty file; fetch or write it again")
    return opener(path)


def _names(path: Path) -> tuple[str, ...]:
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no JSON file: {error}; fetch or write it again") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} is not a list of strings; expected one name for each row; write it again")
    return tuple(names)
