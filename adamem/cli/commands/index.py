"""`adamem index list | show`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from adamem.cli.app import app
from adamem.cli.terminal import output
from adamem.errors import UserError
from adamem.index import Param, index_class, index_names

index_app = typer.Typer(
    no_args_is_help=True,
    help="Which indexes are installed, what they can do and what they take.\n\n"
    "\b\nadamem index list\nadamem index show hnsw",
)
app.add_typer(index_app, name="index")


@index_app.command("list")
def list_indexes() -> None:
    """List the installed indexes, third parties' included.

    \b
    adamem index list
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("index", "metrics", "can", "what it is"):
        table.add_column(heading, overflow="fold")
    for name in index_names():
        try:
            kind = index_class(name)
        except UserError as error:
            table.add_row(name, "", "", str(error))
            continue
        able = [verb for verb in ("insert", "delete", "replace", "filter", "save") if getattr(kind.capabilities, verb)]
        table.add_row(name, " ".join(kind.capabilities.metrics), " ".join(able), kind.summary)
    output.print(table)


@index_app.command("show")
def show_index(name: Annotated[str, typer.Argument(help="An index's name, as `adamem index list` gives it.")]) -> None:
    """Show an index's capabilities and every parameter with its default and range.

    \b
    adamem index show hnsw
    """
    kind = index_class(name)
    able = kind.capabilities
    output.print(f"{kind.name}: {kind.summary}", markup=False)
    output.print(f"metrics: {', '.join(able.metrics)}", markup=False)
    for verb in (
        "insert",
        "delete",
        "replace",
        "filter",
        "save",
        "threadsafe_search",
        "deterministic",
        "exact",
        "exact_distances",
    ):
        output.print(f"  {verb.replace('_', ' ')}: {'yes' if getattr(able, verb) else 'no'}", markup=False)
    for title, params in (("build parameters", kind.build_params), ("search parameters", kind.search_params)):
        output.print(f"\n{title}:" if params else f"\n{title}: none", markup=False)
        if params:
            output.print(_params_table(params))


def _params_table(params: tuple[Param, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "default", "allowed", "compare tries", "meaning"):
        table.add_column(heading, overflow="fold")
    for param in params:
        if param.choices:
            allowed = " | ".join(map(str, param.choices))
        else:
            low = "" if param.low is None else f"{param.low:g}"
            high = "" if param.high is None else f"{param.high:g}"
            allowed = f"{low} .. {high}" if low or high else "any"
        tries = " ".join(map(str, param.sweep)) or "-"
        table.add_row(param.name, str(param.default), allowed, tries, param.help)
    return table
