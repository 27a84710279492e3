"""`adamem run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adamem.bench import override, read
from adamem.cli.app import app
from adamem.cli.terminal import TerminalReporter, output
from adamem.errors import ConfigError
from adamem.studies import Sized, Study, study_class


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="An experiment: a TOML file, such as experiments/quick.toml.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; reports/NAME where left out.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value; may be given several times."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="KEY", help="Of a suite, this data set alone; may be given several times."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and about how long it takes.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Of a study in sizes, the one of a few minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Of a study in sizes, the largest.")] = False,
) -> None:
    """Run an experiment, or go on with one that was interrupted, and write its report.

    Whatever was measured whole is never measured again: Ctrl-C, or even a power cut, costs the block in flight.

    \b
    adamem run experiments/quickstart.toml
    adamem run experiments/fashion-mnist.toml --dry-run
    adamem run experiments/scaling.toml --only 100k
    adamem run experiments/lora-adaptation.toml --quick
    adamem run experiments/encoder-drift.toml --only koziev
    adamem run experiments/quick.toml --set measure.rounds=2 --set contestant.hnsw.build.M="[8, 16]" --out reports/try
    """
    tables = override(read(config), settings or [])
    study = study_of(tables, source=str(config))
    if quick or full:
        study = sized(study, "quick" if quick else "full", both=quick and full, source=str(config))
    if only:
        study = study.part(only)
    if dry_run:
        with TerminalReporter() as reporter:
            told = study.forecast(reporter=reporter)
        output.print(told, markup=False)
        return
    finish(study, out or Path("reports") / study.folder_name)


def study_of(tables: dict[str, object], *, source: str) -> Study:
    """The study that a config names."""
    name = tables.get("study", "sweep")
    if not isinstance(name, str):
        raise ConfigError(f'{source}: study = {name!r}: expected a string, such as "sweep"')
    return study_class(name).from_tables(tables, source=source)


def sized(study: Study, size: Literal["quick", "full"], *, both: bool, source: str) -> Study:
    """The study in another size. Raises `ConfigError` if both were asked for, or it comes in one size."""
    if both:
        raise ConfigError(f"{source}: --quick and --full exclude each other; choose one")
    if not isinstance(study, Sized):
        raise ConfigError(f"{source}: the study {study.name!r} comes in one size; leave out --{size}")
    return study.sized(size)


def finish(study: Study, out: Path) -> None:
    """Run a study and show what came of it."""
    from adamem import report

    with TerminalReporter() as reporter:

        def write(folder: Path) -> None:
            reporter.stage(f"writing the report of {folder}", 1)
            report.write(folder)
            reporter.advance()

        folder = study.run(out, reporter=reporter, done=write)
    output.print(report.summary(folder))
    output.print(f"report: {report.page(folder)}", markup=False)
