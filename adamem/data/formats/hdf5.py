"""HDF5 as ann-benchmarks and VIBE lay it out: train, test, perhaps learn; attributes distance and point_type.

Their neighbours and distances are not read: the truth comes from our own oracle, the same for every set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adamem.data.formats.source import VectorParts, VectorSource
from adamem.errors import DataError
from adamem.types import AnyArray, Metric

_METRICS: dict[str, Metric] = {
    "euclidean": "l2",
    "l2": "l2",
    "angular": "cosine",
    "cosine": "cosine",
    "normalized": "cosine",  # unit vectors: cosine, inner product and l2 give the same order
    "ip": "ip",
    "dot": "ip",
    "inner_product": "ip",
}
_DENSE = ("float", "float32", "float64", "uint8", "int8")


def open_hdf5(path: Path) -> VectorParts:
    """The parts and the metric of such a file.

    Raises
    ------
    DataError
        if it is no whole HDF5 file, has no train, or holds sets or bits instead of vectors.
    """
    import h5py  # noqa: PLC0415  # loads the HDF5 library: only for those who read such files

    try:
        with h5py.File(path, "r") as file:
            metric = _metric(file.attrs, path)
            if "train" not in file:
                held = ", ".join(file) or "nothing"
                raise DataError(f"{path} holds {held}; expected the vectors under 'train' (and queries under 'test')")
            parts = {name: _part(path, name, file[name]) for name in ("train", "test", "learn") if name in file}
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} is no whole HDF5 file: {error}; fetch it again") from error
    return VectorParts(parts["train"], parts.get("test"), parts.get("learn"), metric, files=(path,))


def _metric(attributes: Any, path: Path) -> Metric | None:
    point_type = _text(attributes.get("point_type", "float"))
    kind = _text(attributes.get("type", "dense"))
    distance = attributes.get("distance")
    if point_type not in _DENSE or kind != "dense" or (distance is not None and _text(distance) not in _METRICS):
        raise DataError(
            f"{path} holds {kind} {point_type} points under distance {_text(distance)!r}; expected dense vectors under "
            f"one of {', '.join(_METRICS)}; sets and bits are not vectors to these indexes: choose another file"
        )
    return None if distance is None else _METRICS[_text(distance)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _part(path: Path, name: str, table: Any) -> VectorSource:
    shape: tuple[int, ...] = getattr(table, "shape", ())
    if len(shape) != 2 or table.dtype.kind not in "fiu":
        raise DataError(f"{path} [{name}] has shape {shape}; expected a table (rows, dimensions) of real numbers")
    rows, dim = int(shape[0]), int(shape[1])

    def blocks(count: int) -> Iterator[AnyArray]:
        import h5py  # noqa: PLC0415  # as above

        try:
            with h5py.File(path, "r") as file:
                for start in range(0, rows, count):
                    yield file[name][start : start + count]
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{path} [{name}] is truncated or altered: {error}; fetch it again") from error

    return VectorSource(path, rows, dim, blocks)
