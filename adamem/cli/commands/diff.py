"""`adamem diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamem.cli.app import app
from adamem.cli.terminal import output


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="A run's folder.")],
    after: Annotated[Path, typer.Argument(help="Another run of the same queries on the same data.")],
    csv: Annotated[Path | None, typer.Option(help="Also write the comparison to this file.")] = None,
) -> None:
    """Compare two runs: recall query by query, with a paired test; speed only where both came from one machine.

    \b
    adamem diff reports/quick reports/quick-after
    """
    from adamem.report.diff import diff as compare

    result = compare(before, after)
    output.print(result)
    if csv is not None:
        result.write_csv(csv)
        output.print(f"written: {csv}", markup=False)
