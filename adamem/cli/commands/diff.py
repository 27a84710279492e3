"""`adamem diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adamem.cli.app import app
from adamem.cli.terminal import output
from adamem.errors import DataError


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
    if not result.quality and not result.speed:
        why = "; ".join(result.notes) or "they share no point that was measured"
        raise DataError(
            f"{before} and {after} cannot be compared: {why}; give two runs that ask the same queries of the same "
            "data and have a point in common"
        )
    output.print(result)
    if csv is not None:
        result.write_csv(csv)
        output.print(f"written: {csv}", markup=False)
