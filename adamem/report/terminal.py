"""The last lines on the terminal: the result table, the answer, and whether exact search already wins."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adamem.bench.adaptation.records import is_adaptation
from adamem.bench.drift.records import is_drift
from adamem.bench.engine import is_engine
from adamem.bench.suite import is_suite
from adamem.report import answer
from adamem.report.adaptation import compose as adaptation
from adamem.report.adaptation.acquisition import acquisition
from adamem.report.adaptation.gathered import gather as gather_adaptation
from adamem.report.adaptation.tables import levels
from adamem.report.document import Cell
from adamem.report.document import Table as Source
from adamem.report.drift import compose as drift
from adamem.report.drift.gathered import gather as gather_drift
from adamem.report.drift.tables import controls, views
from adamem.report.engine import compose as engine
from adamem.report.engine.gathered import gather
from adamem.report.engine.tables import evidence, hybrid
from adamem.report.overview import compose as overview
from adamem.report.overview.members import read_overview
from adamem.report.overview.tables import lead
from adamem.report.tables.headline import headline
from adamem.report.writing import compared


def summary(path: Path) -> RenderableType:
    """The answer, the headline table and the exact-search sentence of the run in the folder `path`.

    Of a suite, the overview's answer and who leads on each data set; of a run on the engine, what it found; of one on
    adaptation, what was learnt; of one on drift, what is lost.
    """
    if is_engine(path):
        of_engine = gather(Path(path))
        found = [table for table in (evidence(of_engine), hybrid(of_engine)) if table is not None]
        first, *rest = engine.answer(of_engine) or ["No set has been measured yet; run it again to go on."]
        return Group(*(_table(table) for table in found), Text(first, style="bold"), *(Text(said) for said in rest))
    if is_adaptation(path):
        of_adaptation = gather_adaptation(Path(path))
        shown = [table for table in (acquisition(of_adaptation), levels(of_adaptation)) if table is not None]
        first, *rest = adaptation.answer(of_adaptation) or ["Nothing has been measured yet; run it again to go on."]
        return Group(*(_table(table) for table in shown), Text(first, style="bold"), *(Text(said) for said in rest))
    if is_drift(path):
        of_drift = gather_drift(Path(path))
        shown = [table for table in (views(of_drift), controls(of_drift)) if table is not None]
        first, *rest = drift.answer(of_drift) or ["Nothing has been measured yet; run it again to go on."]
        return Group(*(_table(table) for table in shown), Text(first, style="bold"), *(Text(said) for said in rest))
    if is_suite(path):
        gathered = read_overview(Path(path))
        held = lead(gathered)
        parts: list[RenderableType] = [_table(held)] if held.records else []
        return Group(*parts, Text(overview.answer(gathered), style="bold"), Text(overview.missing(gathered)))
    comparison = compared(Path(path))
    parts = []
    if comparison.entries:
        source = headline(comparison)
        parts.append(_table(source))
        parts.extend(Text(note, style="dim") for note in source.notes if note.startswith(("Noise", "No noise")))
    parts.append(Text(answer.answer(comparison), style="bold"))
    sentences = (answer.exact_sentence(comparison), answer.doubt(comparison), answer.caveat(comparison))
    parts.extend(Text(said) for said in sentences if said)
    return Group(*parts)


def _table(source: Source) -> Table:
    table = Table(title=source.caption, title_justify="left", title_style="bold", header_style="bold")
    for column in source.columns:
        label = Text(f"{column.label}\n{column.unit}".strip())
        table.add_column(label, justify="right" if column.number else "left", overflow="fold")
    for group in source.groups:
        if group.label:
            table.add_section()
            table.add_row(Text(group.label, style="bold"))
        for row in group.rows:
            table.add_row(*(_cell(cell) for cell in row))
    return table


def _cell(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.detail:
        text.append(f"\n{cell.detail}", style="dim")
    return text
