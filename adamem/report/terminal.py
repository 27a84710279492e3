"""The last lines on the terminal: the result table, the answer, and whether exact search already wins."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adamem.report import answer
from adamem.report.document import Cell
from adamem.report.tables.headline import headline
from adamem.report.writing import compared


def summary(path: Path) -> RenderableType:
    """The answer, the headline table and the exact-search sentence of the run in the folder `path`."""
    comparison = compared(Path(path))
    parts: list[RenderableType] = []
    if comparison.entries:
        source = headline(comparison)
        table = Table(title=source.caption, title_justify="left", title_style="bold", header_style="bold")
        for column in source.columns:
            label = Text(f"{column.label}\n{column.unit}".strip())
            table.add_column(label, justify="right" if column.number else "left", overflow="fold")
        for row in source.groups[0].rows:
            table.add_row(*(_cell(cell) for cell in row))
        parts.append(table)
        parts.extend(Text(note, style="dim") for note in source.notes if note.startswith(("Noise", "No noise")))
    parts.append(Text(answer.answer(comparison), style="bold"))
    sentences = (answer.exact_sentence(comparison), answer.doubt(comparison), answer.caveat(comparison))
    parts.extend(Text(said) for said in sentences if said)
    return Group(*parts)


def _cell(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.best else "")
    if cell.detail:
        text.append(f"\n{cell.detail}", style="dim")
    return text
