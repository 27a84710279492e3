"""`adamem`: the command line. Every command is a thin skin over the library."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import click
import typer

from adamem import __version__
from adamem.errors import AdaMemError, UserError

app = typer.Typer(
    name="adamem",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130
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
    Do I believe it?      adamem verify reports/quickstart

    Exit status: 0 all well, 1 a run or a verification failed, 2 something you can mend, 130 interrupted.
    """
    global _debug  # noqa: PLW0603 -- one flag of one process, read where the process ends
    _debug = debug or bool(os.environ.get("ADAMEM_DEBUG"))


def main() -> None:
    """The console script: run a command, turn errors into a sentence and an exit status."""
    from adamem.cli import commands  # noqa: F401 -- registers the commands on `app`
    from adamem.cli.terminal import errors

    try:
        # An interrupt reaches us as an exception or, through click, as the status that stands for it.
        status = app(standalone_mode=False) or 0
    except (KeyboardInterrupt, click.exceptions.Abort):
        status = _INTERRUPTED
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AdaMemError as error:
        if _debug:
            raise
        errors.print(f"error: {error}", markup=False)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader went away (`adamem index list | head`): nothing to say, and nothing left to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(0)
        if _debug:
            raise
        errors.print(f"error: {error}; check the path, its permissions and the free space", markup=False)
        sys.exit(2)
    except Exception as error:
        if _debug:
            raise
        errors.print(
            f"error: something went wrong that should not have ({type(error).__name__}: {error}); "
            "run it again with --debug and report what it shows",
            markup=False,
        )
        sys.exit(1)
    if status == _INTERRUPTED:
        errors.print("\ninterrupted; what was finished is kept, the same command goes on from there")
    sys.exit(status)
