"""What the figures rest on: the tuning effort, what failed, the data, the machine, how quiet it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table, plain_table
from adamem.report.loaded import Loaded


def sweep(loaded: Loaded) -> Table:
    """Stage 1: how many builds and points each contestant was given, the most recall it reached, and what was kept."""
    rows: list[tuple[Cell, ...]] = []
    records: list[Mapping[str, CsvValue]] = []
    runtimes = loaded.runtimes
    for contestant in loaded.contestants:
        workers = [w for block in loaded.sweep for w in block.workers if w.contestant == contestant.name]
        own = [block for block in loaded.sweep if any(w.contestant == contestant.name for w in block.workers)]
        seconds = sum(block.wall_seconds for block in own)
        points = sum(len(worker.points) for worker in workers)
        failed = sum(worker.status != "ok" for worker in workers)
        kept = [wording.params(one.build) or "its only build" for one in contestant.choice.builds]
        most = max((score for one in contestant.choice.candidates for score in one.recalls), default=None)
        rows.append(
            (
                Cell(contestant.name, wording.runtime(runtimes.get(contestant.name))),
                Cell(str(len(workers))),
                Cell(str(failed)),
                Cell(str(points)),
                Cell(wording.duration(seconds)),
                Cell(wording.NOTHING if most is None else wording.score(most)),
                Cell("; ".join(kept) or "none"),
            )
        )
        records.append(
            {
                "contestant": contestant.name,
                "builds": len(workers),
                "builds_failed": failed,
                "points": points,
                "wall_seconds": seconds,
                "best_recall": most,
                "kept": "; ".join(kept),
                **({"runtime": wording.runtime(runtimes.get(contestant.name))} if runtimes else {}),
            }
        )
    return Table(
        "sweep",
        "Stage 1: what was tried on the calibration queries",
        (
            Column("index", number=False),
            Column("builds"),
            Column("failed"),
            Column("points"),
            Column("wall time"),
            Column(f"best recall@{loaded.k}", "of all points"),
            Column("kept for stage 2", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            f"The efforts tried end where recall@{loaded.k} is 0.9995, or with the grid: the best recall is no limit.",
        ),
    )


def excluded(loaded: Loaded) -> Table | None:
    """Builds that failed or whose figures cannot stand, with the reason."""
    rows = []
    for stage, blocks in (("sweep", loaded.sweep), ("measure", loaded.blocks)):
        for block in blocks:
            for worker in block.workers:
                if worker.status != "ok":
                    status = "INVALID" if worker.status == "invalid" else worker.status
                    name = f"{worker.contestant} (twin)" if worker.role == "twin" else worker.contestant
                    rows.append((name, wording.params(worker.build), stage, worker.seed, status, worker.why))
    if not rows:
        return None
    heads = ("index", "build", "stage", "seed", "status", "why")
    return plain_table(
        "excluded", "What is in no figure", [Column(head, number=head == "seed") for head in heads], rows
    )


def dataset(loaded: Loaded) -> Table:
    """The data, its source and licence, and how the queries were drawn."""
    data = loaded.run.dataset
    rows: list[tuple[str, str]] = [
        ("name", data.name),
        ("vectors", f"{data.n:,} of {data.dim} dimensions"),
        ("metric", data.metric),
        (
            "queries",
            f"{data.queries.calibration:,} to calibrate, {data.queries.test:,} to test, of {data.queries.distinct:,} "
            "distinct",
        ),
        ("split", data.queries.split),
        *facts(data.provenance),
        ("fingerprint", data.fingerprint),
    ]
    return facts_table("dataset", "Data", rows)


def machine(loaded: Loaded) -> Table:
    """The machine and the libraries that bear on the figures."""
    run = loaded.run
    rows = [*facts(run.machine), ("adamem", run.adamem), *facts(run.versions)]
    return facts_table("machine", "Machine and libraries", rows)


def fitness(loaded: Loaded) -> Table | None:
    """How quiet the machine was during each block."""
    if not loaded.blocks:
        return None
    rows: list[tuple[Cell, ...]] = []
    records: list[Mapping[str, CsvValue]] = []
    for block in loaded.blocks:
        quiet = block.fitness
        rows.append(
            (
                Cell(block.key[:12]),
                Cell(str(block.cohort)),
                Cell(str(block.seed)),
                Cell(wording.duration(block.wall_seconds)),
                Cell(wording.number(quiet.load_before, 2)),
                Cell(wording.percent(quiet.steal)),
                Cell(wording.percent(quiet.foreign)),
                Cell("; ".join(quiet.notes) or "quiet"),
            )
        )
        records.append(
            {
                "block": block.key[:12],
                "cohort": block.cohort,
                "seed": block.seed,
                "wall_seconds": block.wall_seconds,
                "load_before": quiet.load_before,
                "steal": quiet.steal,
                "foreign": quiet.foreign,
                "notes": "; ".join(quiet.notes),
            }
        )
    return Table(
        "fitness",
        "How quiet the machine was",
        (
            Column("block", number=False),
            Column("cohort"),
            Column("seed"),
            Column("wall time"),
            Column("load", "before"),
            Column("stolen", "of CPU time"),
            Column("others", "of CPU time"),
            Column("what it spoils", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
    )


def facts_table(name: str, caption: str, rows: Iterable[tuple[str, str]]) -> Table:
    """Two columns: what, and what it is."""
    return plain_table(name, caption, [Column("what", number=False), Column("value", number=False)], list(rows))


def facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A JSON object as lines, nested names joined by dots."""
    out: list[tuple[str, str]] = []
    for name, value in values.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            out.extend((f"{label}: {inner}", text) for inner, text in facts(value))
        elif isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
            out.append((label, ", ".join(map(str, value)) or "none"))
        elif value is not None:
            out.append(
                (label, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))
            )
    return out
