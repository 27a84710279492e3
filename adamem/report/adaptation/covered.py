"""Which part of a run there is, where it is not whole."""

from __future__ import annotations

from adamem.report.adaptation.gathered import NAMES, Gathered
from adamem.report.document import Cell, Column, Group, Table
from adamem.report.pieces import measured_on

_SINGLE = "single updates"


def covered(gathered: Gathered) -> Table | None:
    """How many seeds ran of each set and arm; None where the run is complete."""
    if gathered.run.status == "complete":
        return None
    planned = gathered.experiment.chosen.seeds
    rows = []
    for key, counts in _by_count(gathered).items():
        for count, names in counts.items():
            told = f"all {len(names)} arms" if len(counts) == 1 else "; ".join(names)
            rows.append((Cell(key), Cell(f"{count} of {planned}"), Cell("" if names == [_SINGLE] else told)))
    return Table(
        "covered",
        "How many seeds there are",
        (Column("set", number=False), Column("seeds"), Column("of", number=False)),
        (Group("", tuple(rows)),),
        tuple(
            {"set": key, "arm": arm or _SINGLE, "seeds": count, "planned": planned} for key, arm, count in gathered.ran
        ),
    )


def part(gathered: Gathered) -> str:
    """The same in a sentence; empty where the run is complete."""
    if gathered.run.status == "complete":
        return ""
    planned = gathered.experiment.chosen.seeds
    told = []
    for key, counts in _by_count(gathered).items():
        most, *fewer = counts
        others = [f"“{name}” {count or 'none'}" for count in fewer for name in counts[count]]
        told.append(f"{key} {most or 'none'}" + (f" ({', '.join(others)})" if others else ""))
    return (
        f"This run is not complete. Of the {planned} seeds that were planned it has: {'; '.join(told)}. "
        f"That took {measured_on(gathered.run, gathered.pieces)}. Run it again to go on."
    )


def _by_count(gathered: Gathered) -> dict[str, dict[int, list[str]]]:
    """By set and number of seeds, the most first, the arms' titles; single updates stand by themselves."""
    out: dict[str, dict[int, list[str]]] = {}
    for key, arm, count in sorted(gathered.ran, key=lambda one: -one[2]):
        name = f"{_SINGLE} of {key}" if not arm else key
        out.setdefault(name, {}).setdefault(count, []).append(NAMES.get(arm, arm) if arm else _SINGLE)
    order = dict.fromkeys(key if arm else f"{_SINGLE} of {key}" for key, arm, _ in gathered.ran)
    return {name: out[name] for name in order}
