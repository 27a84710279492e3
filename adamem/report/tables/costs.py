"""What an index costs before its first answer, and what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adamem.bench.records import Worker
from adamem.report import wording
from adamem.report.document import Cell, Column, Group, Table
from adamem.report.loaded import Loaded, Series


def start(loaded: Loaded) -> Table | None:
    """Import and JIT, build, first and warm query, memory: of each contestant's build for the middle target."""
    rows, records = [], []
    for contestant in loaded.contestants:
        series = contestant.for_target(loaded.middle)
        if series is None:
            continue
        workers = series.workers()
        told: dict[str, Any] = {
            "contestant": contestant.name,
            "build": wording.params(series.build),
            "seeds": len(workers),
        }
        for name in ("import_seconds", "build_seconds", "first_query_seconds", "warm_query_seconds"):
            told |= _spread(workers, name)
        told["bytes"] = sum(workers[0].nbytes.values()) or None
        for name in ("resident_bytes", "peak_bytes"):
            told |= _spread(workers, name)
        rows.append(
            (
                Cell(contestant.name, wording.params(series.build)),
                *(
                    _seconds(told, name)
                    for name in ("import_seconds", "build_seconds", "first_query_seconds", "warm_query_seconds")
                ),
                _bytes(told["bytes"]),
                _bytes(told["resident_bytes"]),
                _bytes(told["peak_bytes"]),
            )
        )
        records.append(told)
    if not records:
        return None
    return Table(
        "start",
        "From nothing to a warm query, and memory",
        (
            Column("index", number=False),
            Column("import", "JIT included"),
            Column("build", f"{workers[0].build_threads} threads"),
            Column("first query"),
            Column("warm query"),
            Column("bytes", "as reported"),
            Column("bytes", "process grew by"),
            Column("bytes", "peak in the build"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Medians over build seeds, with the range below. What the process grew by is measured from outside and "
            "holds "
            "allocator slack; where it is far from what the index reports, believe it rather.",
        ),
    )


def parts(series: Series) -> dict[str, int]:
    """Bytes by part, largest first."""
    return dict(sorted(series.workers()[0].nbytes.items(), key=lambda item: (-item[1], item[0])))


def _spread(workers: Sequence[Worker], name: str) -> dict[str, float | None]:
    values = [float(value) for worker in workers if (value := getattr(worker, name)) is not None]
    if not values:
        return {name: None, f"{name}_min": None, f"{name}_max": None}
    return {name: float(np.median(values)), f"{name}_min": min(values), f"{name}_max": max(values)}


def _seconds(told: dict[str, Any], name: str) -> Cell:
    if told[name] is None:
        return Cell("not measured")
    low, high = told[f"{name}_min"], told[f"{name}_max"]
    return Cell(wording.seconds(told[name]), "" if low == high else f"{wording.seconds(low)} … {wording.seconds(high)}")


def _bytes(value: float | None) -> Cell:
    return Cell("not measured" if value is None else wording.megabytes(value))
