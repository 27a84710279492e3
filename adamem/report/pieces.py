"""The sections that reports of runs made of pieces share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adamem.bench.pieces import Piece, PiecesRun
from adamem.report import wording
from adamem.report.document import Block, Cell, Code, Column, CsvValue, Details, Group, Paragraph, Section, Table
from adamem.report.tables.context import facts, facts_table


def section(key: str, title: str, *blocks: Block | None) -> Section:
    """A section of the blocks that there are."""
    return Section(key, title, tuple(block for block in blocks if block is not None))


def machine(run: PiecesRun, pieces: Sequence[Piece]) -> Section:
    """When and on what it was measured, and how quiet that was."""
    ended = f"finished {run.finished}" if run.finished else "not finished"
    spent = sum(piece.wall_seconds for piece in pieces)
    rows = [*facts(run.machine), ("adamem", run.adamem), *facts(run.versions)]
    for number, other in enumerate(run.others, start=2):
        mine = facts(run.machine)
        rows += [(f"machine {number}: {name}", value) for name, value in facts(other) if (name, value) not in mine]
    return section(
        "machine",
        "Machine",
        Paragraph(f"Begun {run.started}, {ended}. Time in the pieces below: {wording.duration(spent)}."),
        Details("The pieces", tuple(block for block in (fitness(run, pieces),) if block is not None)),
        Details("Machine and libraries", (facts_table("machine", "Machine and libraries", rows),)),
    )


def measured_on(run: PiecesRun, pieces: Sequence[Piece]) -> str:
    """How long the pieces took, and on what; where on several machines, how long on each."""
    known = {one["fingerprint"]: one for one in (run.machine, *run.others)}
    spent: dict[str, float] = {}
    for piece in pieces:
        spent[piece.machine] = spent.get(piece.machine, 0.0) + piece.wall_seconds
    whole = wording.duration(sum(spent.values()))
    if spent.keys() <= {run.machine["fingerprint"]}:
        return f"{whole} on {_cores(run.machine)}"
    told = [f"{wording.duration(spent.pop(name))} on {_family(one)}" for name, one in known.items() if name in spent]
    told += [f"{wording.duration(sum(spent.values()))} on what was not recorded"] if spent else []
    return f"{whole}: {', '.join(told)}"


def _cores(machine: Mapping[str, Any]) -> str:
    return f"{machine['cores']} cores of {machine['cpu']}"


def _family(machine: Mapping[str, Any]) -> str:
    return f"{_cores(machine)} (CPU family {machine['cpu_family']})"


def are_elsewhere(run: PiecesRun, pieces: Sequence[Piece]) -> bool:
    """Whether any of them was measured on another machine than most of the run."""
    return any(piece.machine != run.machine["fingerprint"] for piece in pieces)


def numbered(run: PiecesRun) -> dict[str, int]:
    """The numbers of the run's machines, from 1, by their fingerprints."""
    return {one["fingerprint"]: number for number, one in enumerate((run.machine, *run.others), start=1)}


def recompute(run: PiecesRun) -> Section:
    """How every figure can be had again."""
    launch = _launch(run.config)
    config = json.dumps({**run.config, "launch": launch}, indent=1, ensure_ascii=False)
    anew = (Paragraph(f"This measures it anew, into reports/{run.name}:"), Code(launch)) if launch else ()
    return Section(
        "recompute",
        "Recompute",
        (
            Paragraph(
                "Every table and figure of this report follows from the raw files in its folder, which hold what was "
                "found for each query and how long it took. This recomputes them all, without the data, in the folder "
                "of this report:"
            ),
            Code("adamem verify ."),
            *anew,
            Details("The resolved config", (Code(config),)),
        ),
    )


def _launch(config: Mapping[str, Any]) -> str:
    """What makes this very run; empty where the experiment does not say.

    Runs were recorded whose line is that of the file, in whatever size they are.
    """
    launch, size = str(config.get("launch", "")), str(config.get("size", "default"))
    option = f" --{size}"
    return launch if not launch or size == "default" or launch.endswith(option) else launch + option


def fitness(run: PiecesRun, pieces: Sequence[Piece]) -> Table | None:
    """How quiet the machine was, and which, where there are several."""
    if not pieces:
        return None
    numbers, several = numbered(run), are_elsewhere(run, pieces)
    rows: list[tuple[Cell, ...]] = []
    records: list[Mapping[str, CsvValue]] = []
    for piece in pieces:
        quiet = piece.fitness
        notes = "; ".join(quiet.notes)
        rows.append(
            (
                Cell(piece.name),
                Cell(wording.duration(piece.wall_seconds)),
                Cell(wording.percent(quiet.steal)),
                Cell(wording.percent(quiet.foreign)),
                Cell(notes or "quiet"),
                *([Cell(f"{numbers.get(piece.machine, 'another')}")] if several else []),
            )
        )
        record: dict[str, CsvValue] = {
            "piece": piece.name,
            "wall_seconds": piece.wall_seconds,
            "steal": quiet.steal,
            "foreign": quiet.foreign,
            "notes": notes,
        }
        records.append(record | ({"machine": piece.machine} if several else {}))
    return Table(
        "fitness",
        "How quiet the machine was",
        (
            Column("piece", number=False),
            Column("wall time"),
            Column("stolen", "of CPU time"),
            Column("others", "of CPU time"),
            Column("what it spoils", number=False),
            *([Column("machine", number=False)] if several else []),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
    )
