"""`adamem`: the command line. Every command is a thin skin over the library."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from adamem import __version__

app = typer.Typer(
    name="adamem",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adamem {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[  # noqa: ARG001 -- handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Compare vector indexes as the long-term memory of language-model agents.

    \b
    A first look:         adamem run experiments/quickstart.toml
    Your own data:        adamem compare --dataset my-vectors.npy --metric cosine --index hnsw --index faiss_pq
    What is there:        adamem index list;  adamem data list
    Keep memories:        adamem memory add memory.db 'a fact' --encoder minilm
    Do I believe it?      adamem verify reports/quickstart

    Exit status: 0 all well, 1 a run or a verification failed, 2 something you can mend, 130 interrupted.
    """
    global _debug  # noqa: PLW0603 -- one flag of one process, read where the process ends
    _debug = debug or bool(os.environ.get("ADAMEM_DEBUG"))


def debugging() -> bool:
    """Whether a traceback is wanted of the error that ended the command."""
    return _debug
