"""A body on disk: raw arrays and what is known of them. Whatever is read is checked, because kernels do not look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from adamem.errors import CorruptResult
from adamem.types import AnyArray
from adamem_indexes._filtered import FilterCache
from adamem_indexes._labels import RowLabels
from adamem_indexes._store import Snapshot, save_snapshot
from adamem_indexes.spiral._body import Body, Plan, empty_body, new_rows
from adamem_indexes.spiral._kernels import CELLS, KNOTS, NIL, SPIRALS, Spiral
from adamem_indexes.spiral._lattice import fibonacci_sphere
from adamem_indexes.spiral._lens import Fitted
from adamem_indexes.spiral._memory import aligned
from adamem_indexes.spiral._tree import no_spiral

_VERSION = 2


def save(body: Body, path: Path, *, index: str, meta: dict[str, Any]) -> None:
    """Write the rows in use, the spiral and the lens into the folder `path`; `meta` is the caller's."""
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
            "warps": body.spiral.warps,
            "cells": body.spiral.cells,
        }
    own = {
        "fitted_on": body.fitted_on,
        "longest": body.longest,
        "faithful": body.fitted.faithful,
        "graph": body.spiral is not None,
    }
    save_snapshot(path, index=index, version=_VERSION, meta={**meta, "body": own}, parts=parts)


def read(path: Path, *, index: str) -> Snapshot:
    """The snapshot in the folder `path`, its checksums checked."""
    return Snapshot.read(path, index=index, version=_VERSION)


def load(snapshot: Snapshot, plan: Plan, *, dim: int) -> Body:
    """The body that `save` wrote.

    Raises
    ------
    CorruptResult
        if the arrays do not fit together, or lead to rows that do not exist.
    """
    own, where = snapshot.meta["body"], snapshot.folder
    fitted = Fitted(_array(snapshot, "basis", np.float32, (None, dim)), _array(snapshot, "centre", np.float32, (dim,)),
                    bool(own["faithful"]))  # fmt: skip
    body = empty_body(plan, fitted, fitted_on=int(own["fitted_on"]), longest=float(own["longest"]))
    ids = _array(snapshot, "ids", np.int64, (None,))
    n = ids.size
    rows = new_rows(n, dim=dim, width=body.rows.codes.shape[1], degree=plan.degree, plain=body.plain)
    for name in ("vectors", "codes", "links", "twins"):
        target = getattr(rows, name)
        target[:] = _array(snapshot, name, target.dtype, target.shape)
    if not _within(rows.links, n) or not _is_chains(rows.twins):
        raise CorruptResult(f"{where}: its links lead to rows that do not exist; save the index again")
    labels = RowLabels(ids)
    spiral = _spiral(snapshot, n, width=body.width) if own["graph"] else None
    rows = rows._replace(labels=labels.array)
    return Body(plan, fitted, body.fitted_on, body.longest, body.plain, body.lens, rows, spiral, labels,
                FilterCache(labels))  # fmt: skip


def _spiral(snapshot: Snapshot, n: int, *, width: int) -> Spiral:
    children = _array(snapshot, "children", np.int32, (None, CELLS))
    cells = _array(snapshot, "cells", np.uint32, (None, None))
    nodes, spirals = children.shape[0], cells.shape[0]
    leaves, root = _array(snapshot, "leaves", np.uint32, (None,)), _array(snapshot, "root", np.uint32, (1,))
    axes = aligned((3 * (nodes + spirals), width), np.uint8)
    axes[:] = _array(snapshot, "axes", np.uint8, axes.shape)
    warps = _array(snapshot, "warps", np.float32, (3 * spirals, KNOTS + 1))
    # A child comes after its parent: no way down is endless. And each node has at least one.
    later = (children < 0) | (children > np.arange(nodes)[:, None]) & (children < nodes)
    known = children >= -1 - leaves.size
    lost = (children == -1).all(axis=1).any() or max(leaves.max(initial=0), cells.max(initial=0), root[0]) >= n
    if not (later & known).all() or lost or spirals > SPIRALS or (spirals and (nodes or not cells.size)):
        raise CorruptResult(f"{snapshot.folder}: its spiral leads nowhere; save the index again")
    found = no_spiral(int(root[0]), width=width)._replace(
        axes=axes, axis_tails=axes.view(np.float32), children=children, leaves=leaves, warps=warps, cells=cells
    )
    return found._replace(lattice=fibonacci_sphere(cells.shape[1])) if spirals else found


def _array(snapshot: Snapshot, name: str, dtype: Any, shape: tuple[int | None, ...]) -> AnyArray:
    found = snapshot.array(name)
    fits = found.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, found.shape, strict=True))
    if not fits or found.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise CorruptResult(
            f"{snapshot.folder}: its {name} are {found.dtype} of shape {found.shape}, expected {np.dtype(dtype)} of "
            f"shape ({wanted}); save the index again"
        )
    return np.ascontiguousarray(found)


def _within(links: AnyArray, n: int) -> bool:
    return bool(((links == NIL) | (links < n)).all())


def _is_chains(twins: AnyArray) -> bool:
    """Whether every row has at most one before it, and every chain an end."""
    if not _within(twins, twins.size):
        return False
    followers = twins[twins != NIL]
    if np.unique(followers).size != followers.size:
        return False
    heads = np.flatnonzero(np.bincount(followers, minlength=twins.size) == 0)
    met = heads.size
    while heads.size:  # as often as the longest chain is long
        heads = twins[heads]
        heads = heads[heads != NIL]
        met += heads.size
    return bool(met == twins.size)
