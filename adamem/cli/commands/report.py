"""`adamem report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamem.cli.app import app
from adamem.cli.terminal import output


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run's folder, such as reports/quickstart.")]) -> None:
    """Write the report of a run anew, from its raw files alone; of a suite, those of its data sets and the overview.

    \b
    adamem report reports/quickstart
    """
    from adamem import report as reports
    from adamem.bench.suite import pieces

    for one in [*pieces(folder), folder]:
        page = reports.write(one)
    output.print(reports.summary(folder))
    output.print(f"report: {page}", markup=False)
