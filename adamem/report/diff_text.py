"""A `Difference` as CSV for machines and as tables on a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from adamem.files import canonical_json
from adamem.report.diff import Difference, Setting
from adamem.types import ParamValue


def diff_csv(difference: Difference) -> str:
    """One line a comparison, quality and speed; a column that says nothing of a line's kind is empty."""
    stream = io.StringIO(newline="")
    out = csv.writer(stream, lineterminator="\n")
    out.writerow(
        [
            "contestant", "build", "search", "k", "measure", "a", "b", "difference", "ratio", "low", "high",
            "p_value", "p_corrected", "effect_size", "share_better", "share_worse", "queries", "noise_floor", "outcome",
        ]
    )  # fmt: skip
    for row in difference.quality:
        test = row.paired
        out.writerow(
            [
                *_setting(row.setting), row.measure, row.a, row.b, test.difference, "", test.low, test.high,
                test.p_value, row.p_corrected, test.effect, test.better, test.worse, test.queries, "", "",
            ]
        )  # fmt: skip
    for fast in difference.speed:
        out.writerow(
            [
                *_setting(fast.setting), fast.what, fast.a, fast.b, "", fast.change, fast.low, fast.high,
                "", "", "", "", "", "", fast.noise, fast.outcome,
            ]
        )  # fmt: skip
    return stream.getvalue()


def diff_tables(difference: Difference) -> Group:
    """For `rich.console.Console.print`: quality, speed, and what could not be compared."""
    parts: list[Table | Text] = []
    if difference.quality:
        table = _table("Quality, query by query", ("measure", "a", "b", "b - a", "95 %", "p (Holm)", "effect"))
        for row in difference.quality:
            test = row.paired
            table.add_row(
                *_words(row.setting), row.measure, f"{row.a:.4f}", f"{row.b:.4f}", f"{test.difference:+.4f}",
                f"{test.low:+.4f} … {test.high:+.4f}", f"{row.p_corrected:.3f}", f"{test.effect:+.2f}",
                style="bold" if row.p_corrected < 0.05 else "",
            )  # fmt: skip
        parts.append(table)
    if difference.speed:
        columns = ("what", "a", "b", "b / a", "95 %", "outcome")
        table = _table("Speed, as a multiple of each run's own reference", columns)
        for fast in difference.speed:
            table.add_row(
                *_words(fast.setting), fast.what, f"{fast.a:.3g}", f"{fast.b:.3g}", f"{fast.change:.3f}",
                f"{fast.low:.3f} … {fast.high:.3f}", fast.outcome,
                style="" if fast.outcome == "level" else "bold",
            )  # fmt: skip
        parts.append(table)
    parts.extend(Text(f"{note}.") for note in difference.notes)
    if not difference.quality and not difference.notes:
        parts.append(Text("The two runs have no contestant at the same setting in common."))
    return Group(*parts)


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("contestant")
    table.add_column("setting")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _setting(setting: Setting) -> tuple[str, str, str, int]:
    return setting.contestant, canonical_json(setting.build), canonical_json(setting.search), setting.k


def _words(setting: Setting) -> tuple[str, str]:
    def told(params: dict[str, ParamValue]) -> str:
        return ", ".join(f"{name}={value}" for name, value in params.items())

    return setting.contestant, " / ".join(filter(None, (told(setting.build), told(setting.search), f"k={setting.k}")))
