"""A body on disk: raw arrays and what is known of them. Whatever is read is checked (`_sound`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adamem.errors import CorruptResult, UserError
from adamem.index import Param, check_metric, check_params
from adamem.types import METRICS, AnyArray, Metric, ParamValue
from adamem_indexes._filtered import FilterCache
from adamem_indexes._labels import RowLabels
from adamem_indexes._store import Snapshot, save_snapshot
from adamem_indexes.spiral._body import Body, Plan, empty_body, new_rows
from adamem_indexes.spiral._kernels import CELLS, LINE, NIL, TAIL_FLOATS, Rows, Spiral
from adamem_indexes.spiral._lens import Fitted
from adamem_indexes.spiral._memory import aligned, give_back
from adamem_indexes.spiral._sound import are_vectors, fault_of_rows, is_tree, leads_to_heads
from adamem_indexes.spiral._tree import no_spiral

_VERSION = 1
_LONGEST = 1.9e19
"""No float32 vector is longer whose squared length is finite."""


def save(
    body: Body, path: Path, *, index: str, metric: Metric, dim: int, params: Mapping[str, ParamValue], seed: int
) -> None:
    """Write the rows in use, the spiral and the lens into the folder `path`, and what the index is of."""
    used = body.labels.rows
    parts: dict[str, Any] = {
        "vectors": body.rows.vectors[:used],
        "codes": np.ascontiguousarray(body.rows.codes[:used]),
        "links": body.rows.links[:used],
        "twins": body.rows.twins[:used],
        "ids": body.labels.of_rows,
        "basis": body.fitted.basis,
        "centre": body.fitted.centre,
    }
    if body.spiral is not None:
        parts |= {
            "axes": np.ascontiguousarray(body.spiral.axes),
            "children": body.spiral.children,
            "leaves": body.spiral.leaves,
            "root": body.spiral.root,
        }
    own = {
        "fitted_on": body.fitted_on,
        "longest": body.longest,
        "lifted": body.lifted,
        "faithful": body.fitted.faithful,
        "graph": body.spiral is not None,
    }
    meta = {"metric": metric, "dim": dim, "params": dict(params), "seed": seed, "body": own}
    save_snapshot(path, index=index, version=_VERSION, meta=meta, parts=parts)
    if body.store is not None:
        give_back(body.rows.vectors)


@dataclass(frozen=True)
class Saved:
    """A snapshot whose checksums fit, and what it says of itself."""

    snapshot: Snapshot
    metric: Metric
    dim: int
    params: dict[str, ParamValue]
    seed: int
    fitted_on: int
    longest: float
    lifted: float
    faithful: bool
    graph: bool

    @classmethod
    def read(cls, path: Path, *, index: str, known: Sequence[Param]) -> Saved:
        """Open the snapshot in the folder `path`; `known` are the index's build parameters.

        Raises
        ------
        StorageError, CorruptResult
            as `Snapshot.read`, and the latter if what it says of itself is not what `save` writes.
        """
        snapshot = Snapshot.read(path, index=index, version=_VERSION)
        try:
            meta = snapshot.meta
            own = meta["body"]
            saved = cls(
                snapshot, check_metric(meta["metric"], METRICS, index), _whole(meta["dim"], least=1),
                check_params(meta["params"], known, index=index, stage="build"), _whole(meta["seed"], least=0),
                _whole(own["fitted_on"], least=0), float(own["longest"]), float(own["lifted"]),
                _flag(own["faithful"]), _flag(own["graph"]),
            )  # fmt: skip
            if not 0 <= saved.longest <= saved.lifted <= 2 * _LONGEST:
                raise ValueError("no length")
        except (UserError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CorruptResult(f"{path} does not say what a saved {index} says; save the index again") from error
        return saved


def load(saved: Saved, plan: Plan, *, mapped: bool) -> Body:
    """The body that `save` wrote; with `mapped`, the large arrays are maps of the files, and else those are read.

    The vectors of an index that was built with `vectors="file"` are mapped in either case.

    Raises
    ------
    CorruptResult
        if the arrays do not fit together, or lead to rows that do not exist.
    """
    snapshot, dim = saved.snapshot, saved.dim
    where = snapshot.folder
    basis, centre = _array(snapshot, "basis", np.float32, (None, dim)), _array(snapshot, "centre", np.float32, (dim,))
    if basis.shape[0] > dim or not (are_vectors(basis, "cosine") and are_vectors(centre[None], "l2")):
        raise CorruptResult(f"{where}: its codes are of directions that do not exist; save the index again")
    fitted = Fitted(basis, centre, saved.faithful)
    body = empty_body(plan, fitted, fitted_on=saved.fitted_on, longest=saved.longest, lifted=saved.lifted)
    ids = _array(snapshot, "ids", np.int64, (None,))
    rows = _rows(snapshot, body, ids.size, mapped=mapped)
    fault = fault_of_rows(rows, ids, plan.metric)
    if fault is not None:
        raise CorruptResult(f"{where}: its {fault}; save the index again")
    labels = RowLabels(ids)
    spiral = _spiral(snapshot, rows, width=body.width) if saved.graph else None
    rows = rows._replace(labels=labels.array)
    return replace(body, rows=rows, spiral=spiral, labels=labels, filters=FilterCache(labels))


def _rows(snapshot: Snapshot, body: Body, n: int, *, mapped: bool) -> Rows:
    empty = body.rows
    kinds = {"vectors": np.float32, "codes": np.uint8, "links": np.uint32, "twins": np.uint32}
    shapes = {name: (n, *getattr(empty, name).shape[1:]) for name in kinds}
    for name, kind in kinds.items():
        _check_form(snapshot, name, kind, shapes[name])
    if mapped:
        codes = snapshot.mapped("codes")
        assert codes.ctypes.data % LINE == 0
        return empty._replace(
            codes=codes,
            tails=codes.view(np.float32),
            links=snapshot.mapped("links"),
            vectors=snapshot.mapped("vectors"),
            twins=snapshot.mapped("twins"),
        )
    in_file = body.plan.in_file
    dim = shapes["vectors"][1]
    rows = new_rows(n, dim=0 if in_file else dim, width=shapes["codes"][1], degree=shapes["links"][1], plain=body.plain)
    if in_file:
        rows = rows._replace(vectors=snapshot.mapped("vectors"))
    for name in ("codes", "links", "twins") if in_file else kinds:
        snapshot.array_into(name, getattr(rows, name))
    return rows


def _spiral(snapshot: Snapshot, rows: Rows, *, width: int) -> Spiral:
    children = _array(snapshot, "children", np.int32, (None, CELLS))
    nodes = children.shape[0]
    leaves, root = _array(snapshot, "leaves", np.uint32, (None,)), _array(snapshot, "root", np.uint32, (1,))
    axes = aligned((3 * nodes, width), np.uint8)
    axes[:] = _array(snapshot, "axes", np.uint8, axes.shape)
    tails = axes.view(np.float32)
    starts = np.concatenate([root, leaves])
    sound = is_tree(children, leaves.size) and bool(np.isfinite(tails[:, -TAIL_FLOATS:]).all())
    if not sound or (starts == NIL).any() or not leads_to_heads(starts, rows.twins):
        raise CorruptResult(f"{snapshot.folder}: its spiral leads nowhere; save the index again")
    return no_spiral(int(root[0]), width=width)._replace(axes=axes, axis_tails=tails, children=children, leaves=leaves)


def _array(snapshot: Snapshot, name: str, dtype: Any, shape: tuple[int | None, ...]) -> AnyArray:
    _check_form(snapshot, name, dtype, shape)
    return snapshot.array(name)


def _check_form(snapshot: Snapshot, name: str, dtype: Any, shape: tuple[int | None, ...]) -> None:
    found = snapshot.header(name)
    fits = len(found.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, found.shape, strict=True)
    )
    if not fits or found.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise CorruptResult(
            f"{snapshot.folder}: its {name} are {found.dtype} of shape {found.shape}, expected {np.dtype(dtype)} of "
            f"shape ({wanted}); save the index again"
        )


def _whole(value: object, *, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r} is no whole number from {least}")
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError(f"{value!r} is neither true nor false")
    return value
