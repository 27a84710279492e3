"""`adamem data list | show | fetch | check | import`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tomli_w
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adamem.bench import progress_of
from adamem.cli.app import app
from adamem.cli.terminal import TerminalReporter, output
from adamem.data import Card, card, check, dataset_names, fetch, import_dataset, locate
from adamem.errors import DataError, UnknownName
from adamem.types import METRICS, Metric

data_app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: which ones are known, which are on this machine, how to get or bring one. "
    "They are looked for in the folders of ADAMEM_DATA, then in the cache (ADAMEM_CACHE).\n\n"
    "\b\nadamem data list\nadamem data fetch glove-100-angular",
)
app.add_typer(data_app, name="data")

_UNCUT = 10_000
"""Columns: wider than any table of data sets."""


@data_app.command("list")
def list_sets() -> None:
    """List every data set that has a card, and whether its files are on this machine.

    \b
    adamem data list
    """
    rows = []
    # What is on this machine comes first: it can be used at once.
    for found in sorted(map(card, dataset_names()), key=lambda one: not _is_here(one)):
        here = "yes" if _is_here(found) else "no"
        rows.append((found.name, found.kind, _shape(found), found.metric or "-", here, found.title))
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    headings = ("data set", "kind", "rows x dim", "metric", "here")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    table.add_column(_cut("what it is"))  # the only one that a narrow terminal shortens
    for *short, title in rows:
        table.add_row(*short, _cut(title))
    # A pipe has no width, so that nothing is cut there; a terminal too narrow even for the rest folds its lines itself.
    least = sum(max(map(len, cells)) + 1 for cells in zip(headings, *(row[:-1] for row in rows), strict=True)) + 1
    width = max(output.width, least) if sys.stdout.isatty() else _UNCUT
    Console(highlight=False, width=width).print(table)


@data_app.command("show")
def show_set(name: Annotated[str, typer.Argument(help="A data set's name, as `adamem data list` gives it.")]) -> None:
    """Show a data set's card: source, licence, shape, files and checksums.

    \b
    adamem data show fashion-mnist
    """
    found = card(name)
    output.print(tomli_w.dumps(found.model_dump(mode="json", exclude_defaults=True)), markup=False)
    folder = locate(found) if found.files else None
    output.print(
        f"# on this machine: {folder or ('yes, made when it is used' if _is_here(found) else 'no')}", markup=False
    )


@data_app.command("fetch")
def fetch_set(name: Annotated[str, typer.Argument(help="A data set's name.")]) -> None:
    """Download a data set into the cache. An interrupted download goes on where it stopped; checksums are checked.

    \b
    adamem data fetch glove-100-angular
    """
    with TerminalReporter() as reporter, progress_of(reporter) as progress:
        folder = fetch(name, progress)
    output.print(f"{name}: {folder or 'needs no files'}", markup=False)


@data_app.command("check")
def check_set(name: Annotated[str, typer.Argument(help="A data set's name.")]) -> None:
    """Compare the files of a data set with its card's checksums.

    \b
    adamem data check fashion-mnist
    """
    with TerminalReporter() as reporter, progress_of(reporter) as progress:
        checks = check(name, progress)
    for one in checks:
        output.print(f"{one.state:8} {one.path}", markup=False)
    if not checks:
        output.print(f"{name}: has no files of its own", markup=False)
    bad = [one for one in checks if one.state in ("altered", "absent")]
    if bad:
        known = card(name)
        way = f"`adamem data fetch {name}` gets what has a public address"
        if known.home is not None:
            way = f"put back what is absent, or {known.import_again()}"
        raise DataError(f"{len(bad)} of {len(checks)} files of {name} are absent or altered; {way}")


@data_app.command("import")
def import_set(
    name: Annotated[str, typer.Argument(help="The name you want to use it by.")],
    path: Annotated[Path, typer.Argument(help="A file of vectors, or a folder of vectors or texts.")],
    metric: Annotated[str | None, typer.Option(help="l2, cosine or ip; needed unless the file says it.")] = None,
    queries: Annotated[Path | None, typer.Option(help="A second file, if the queries lie apart.")] = None,
    licence: Annotated[str, typer.Option(help="What reports say of its licence.")] = "not stated",
    title: Annotated[str | None, typer.Option(help="What reports call it.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite a card of yours of that name.")] = False,
) -> None:
    """Give your own data a name. The files stay where they are; a card with their checksums goes into the cache.
    Every vector is looked at.

    Vectors: npy, npz, fvecs, bvecs, fbin, u8bin, i8bin, IDX, TSV, ann-benchmarks HDF5. Texts: a folder with
    corpus.jsonl, queries.jsonl and qrels.tsv.

    \b
    adamem data import my-notes vectors.npy --metric cosine --queries questions.npy
    """
    known: Metric | None = None
    if metric is not None:
        if metric not in METRICS:
            raise UnknownName.of("metric", metric, METRICS)
        known = metric
    with TerminalReporter() as reporter, progress_of(reporter) as progress:
        found = import_dataset(
            name,
            path,
            metric=known,
            queries=queries,
            licence=licence,
            title=title,
            replace=replace,
            progress=progress,
        )
    output.print(f"{found.name}: {found.kind}, {_shape(found)}; use it as --dataset {found.name}", markup=False)


def _cut(text: str) -> Text:
    """A cell that is cut to its column rather than folded: one line a set."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def _shape(found: Card) -> str:
    if found.rows is None:
        return "-"
    return f"{found.rows:,} x {found.dim}" if found.dim else f"{found.rows:,}"


def _is_here(found: Card) -> bool:
    needed = [found, *(card(other) for other in (found.cut_from, found.judged_by) if other)]
    return all(not one.files or locate(one) is not None for one in needed)
