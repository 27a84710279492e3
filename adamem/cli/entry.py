"""The console script: run a command, turn errors into a sentence and an exit status.

Importing the commands takes a third of a second, and that is inside the guard too: nothing but what Python has loaded
anyway is imported up here, so that Ctrl-C leaves no traceback however early it comes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_INTERRUPTED = 130


def main() -> None:
    """`adamem`: run the command line of this process, and end the process."""
    _end_with("adamem")


def adapmem() -> None:
    """`adapmem export` and `adapmem import`: the same as `adamem memory export` and `import`."""
    _end_with("adapmem")


def _end_with(program: str) -> None:
    try:
        status = _run(program)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        # Written plainly: the console may not be imported yet.
        sys.stderr.write("\ninterrupted; what was finished is kept, the same command goes on from there\n")
    sys.exit(status)


def _run(program: str) -> int:
    """Run the command and say what went wrong with it; the exit status."""
    import typer

    from adamem.cli.app import app, debugging
    from adamem.cli.commands import memory  # with it come all commands, which register themselves on `app`
    from adamem.cli.terminal import errors
    from adamem.errors import AdaMemError, UserError

    try:
        # An interrupt reaches us as an exception or, through typer, as the status that stands for it.
        return (app if program == "adamem" else memory.package_app)(standalone_mode=False) or 0
    except typer.Abort:
        return _INTERRUPTED
    except _refusals() as error:
        _explain_debug(error)
        error.show()
        return error.exit_code
    except AdaMemError as error:
        if debugging():
            raise
        errors.print(f"error: {error}", markup=False)
        return 2 if isinstance(error, UserError) else 1
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader went away (`adamem index list | head`): nothing to say, and nothing left to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        if debugging():
            raise
        errors.print(f"error: {error}; check the path, its permissions and the free space", markup=False)
        return 2
    except Exception as error:
        if debugging():
            raise
        errors.print(
            f"error: something went wrong that should not have ({type(error).__name__}: {error}); "
            "run it again with --debug and report what it shows",
            markup=False,
        )
        return 1


def _refusals() -> type[typer.BadParameter]:
    """The class of all of typer's usage errors.

    Older typers stand on the package click, newer ones have a click of their own under a private name. Either way
    `typer.BadParameter` descends from it, and it is the first that can show itself. The type says less than the
    truth: what is used of it, `show` and `exit_code`, is there from that class on.
    """
    import typer

    found: type[typer.BadParameter] = next(
        kind for kind in reversed(typer.BadParameter.__mro__) if hasattr(kind, "show")
    )
    return found


def _explain_debug(error: typer.BadParameter) -> None:
    """Say where --debug goes: people add it at the end of the command that failed."""
    context = getattr(error, "ctx", None)
    if getattr(error, "option_name", None) == "--debug" and context is not None and context.parent is not None:
        program, _, command = context.command_path.partition(" ")
        error.message = f"--debug goes before the command: {program} --debug {command} ..."
