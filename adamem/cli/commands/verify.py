"""`adamem verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamem.cli.app import app
from adamem.cli.terminal import TerminalReporter, output
from adamem.errors import VerificationFailed


@app.command()
def verify(
    folders: Annotated[list[Path], typer.Argument(help="Runs' folders, such as reports/reference/fashion-mnist.")],
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Also recompute every distance from the data set; of comparisons of indexes only."),
    ] = False,
) -> None:
    """Check that every figure of a report follows from its raw files.

    Recomputes each table cell and each figure's values from the raw answers and times, by the metrics that the run
    recorded, and compares them with what the report says. Needs no data set, but for --deep.

    \b
    adamem verify reports/quickstart
    adamem verify --deep reports/reference/fashion-mnist
    """
    from adamem.report.verify import is_part
    from adamem.report.verify import verify as check

    failed = 0
    for folder in folders:
        with TerminalReporter() as reporter:
            reporter.stage(f"verifying {folder}", 1)
            findings = check(folder, deep=deep)
            reporter.advance()
        for finding in findings:
            output.print(f"{folder}: {finding}", markup=False)
        failed += bool(findings)
        if not findings:
            part = ", which are of a part of the run: report.md says of which" if is_part(folder) else ""
            output.print(f"{folder}: every figure follows from the raw files{part}", markup=False)
    if failed:
        raise VerificationFailed(f"{failed} of {len(folders)} reports do not follow from their raw files")
