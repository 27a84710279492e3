"""What a report is made of, whatever it is written as: sections of text, tables and figures.

Nothing here is escaped: the writers of HTML and Markdown do that, for everything that reaches them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from adamem.report.wording import settled

CsvValue = str | int | float | bool | None


@dataclass(frozen=True)
class Cell:
    """One cell of a table as a reader sees it."""

    text: str
    detail: str = ""
    """A second, smaller line: an interval, a build."""
    best: bool = False
    """The best of its column, or not told apart from it."""


@dataclass(frozen=True)
class Column:
    """A column's heading."""

    label: str
    unit: str = ""
    number: bool = True
    """Aligned to the right."""


@dataclass(frozen=True)
class Group:
    """Rows that belong together, under a heading where there are several groups."""

    label: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table for people, and the same figures in full for machines."""

    name: str
    """The CSV file's stem."""
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    records: tuple[Mapping[str, CsvValue], ...]
    """What the CSV holds: one mapping a line, all with the same keys."""
    notes: tuple[str, ...] = ()
    """What must be said below it."""

    def csv(self) -> bytes:
        """The CSV file's bytes."""
        return csv_bytes(self.records)


@dataclass(frozen=True)
class Figure:
    """A figure: its data, and what is said of them. `adamem.report.figures` draws it from `records` alone."""

    name: str
    title: str
    caption: str
    alt: str
    records: tuple[Mapping[str, CsvValue], ...]

    def csv(self) -> bytes:
        """The CSV file's bytes."""
        return csv_bytes(self.records)


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str
    kind: Literal["plain", "answer", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Links:
    """Other reports: what each is called, and its page's path without the suffix, relative to this one."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """Something to be typed, or a config."""

    text: str


@dataclass(frozen=True)
class Details:
    """What is folded away until someone asks."""

    summary: str
    blocks: tuple[Block, ...]


Block = Table | Figure | Paragraph | Bullets | Links | Code | Details


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    def tables(self) -> list[Table]:
        """Every table, in order."""
        return [block for block in self._blocks() if isinstance(block, Table)]

    def figures(self) -> list[Figure]:
        """Every figure, in order."""
        return [block for block in self._blocks() if isinstance(block, Figure)]

    def _blocks(self) -> list[Block]:
        return [block for section in self.sections for block in _flat(section.blocks)]


def plain_table(name: str, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[CsvValue]]) -> Table:
    """A table whose cells are short facts, shown as they are in the CSV."""
    keys = [column.label for column in columns]
    return Table(
        name,
        caption,
        tuple(columns),
        (Group("", tuple(tuple(Cell("" if value is None else str(value)) for value in row) for row in rows)),),
        tuple(dict(zip(keys, row, strict=True)) for row in rows),
    )


def csv_bytes(records: Sequence[Mapping[str, CsvValue]]) -> bytes:
    """UTF-8 with Unix line ends, a header line, floats to 6 significant digits, nothing where there is no value.

    Columns are all that any record has, in the order in which they first come.
    """
    stream = io.StringIO()
    columns = list(dict.fromkeys(name for record in records for name in record))
    if columns:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for record in records:
            writer.writerow([csv_text(record.get(name)) for name in columns])
    return stream.getvalue().encode()


def csv_text(value: CsvValue) -> str:
    """One value as the CSV has it.

    Six digits, because a report is verified byte by byte and the last bits of a float depend on the processor.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{settled(value):.6g}"
    return str(value)


def _flat(blocks: Sequence[Block]) -> list[Block]:
    out: list[Block] = []
    for block in blocks:
        out.extend(_flat(block.blocks) if isinstance(block, Details) else [block])
    return out
