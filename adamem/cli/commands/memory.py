"""`adamem memory add | update | search | list | get | history | delete | restore`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from adamem.cli.app import app
from adamem.cli.terminal import output
from adamem.errors import InvalidInput, StorageError
from adamem.memory import Hit, Memory, MemoryEngine, NewMemory

memory_app = typer.Typer(
    no_args_is_help=True,
    help="Memories in one file: add facts, find the few that matter. A file is made by the first add; its encoder is "
    "the one that --encoder or EMBED_MODEL names then, and stays.\n\n"
    "\b\nadamem memory add memory.db 'Anna moved to Dallas in May' --slot home.city --encoder minilm\n"
    "adamem memory search memory.db 'where does Anna live?'",
)
app.add_typer(memory_app, name="memory")

File = Annotated[Path, typer.Argument(help="The memory file.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Where it belongs; else DEFAULT_NS, else global.")
]
Encoder = Annotated[
    str | None, typer.Option("--encoder", help="minilm, hashing, owner/model or a folder; else the file's own.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Number = Annotated[int, typer.Argument(help="A memory's id, as add and search give it.")]


@memory_app.command()
def add(
    file: File,
    text: Annotated[str, typer.Argument(help="What to remember; - reads one memory a line from standard input.")],
    namespace: Namespace = None,
    slot: Annotated[
        str | None, typer.Option("--slot", help="What the fact is of, such as home.city; it supersedes the one there.")
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="What kind of memory it is.")] = "fact",
    metadata: Annotated[str, typer.Option("--metadata", help="A JSON object.")] = "{}",
    encoder: Encoder = None,
) -> None:
    """Remember a text, and print its id.

    \b
    adamem memory add memory.db 'Anna moved to Dallas in May' --slot home.city --encoder minilm
    adamem memory add memory.db - --namespace notes < notes.txt
    """
    said = _json_object(metadata)
    lines = [line.rstrip("\n") for line in sys.stdin if line.strip()] if text == "-" else [text]
    new = [NewMemory(text=line, slot=slot, type=kind, metadata=said) for line in lines]
    with MemoryEngine(file, encoder=encoder) as memory:
        for added in memory.add_many(new, namespace=namespace):
            output.print(str(added.id), markup=False)


@memory_app.command()
def update(
    file: File,
    question: Annotated[str, typer.Argument(help="What is asked.")],
    answer: Annotated[str, typer.Argument(help="What the answer is from now on.")],
    namespace: Namespace = None,
    encoder: Encoder = None,
) -> None:
    """Remember the answer to a question, in place of an earlier one, and print its id.

    \b
    adamem memory update memory.db 'How do I reset the router?' 'Hold the button for ten seconds' --encoder minilm
    """
    with MemoryEngine(file, encoder=encoder) as memory:
        output.print(str(memory.update(question, answer, namespace=namespace).id), markup=False)


@memory_app.command()
def search(
    file: File,
    query: Annotated[str, typer.Argument(help="What is asked.")],
    namespace: Namespace = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many at most.")] = 4,
    as_json: AsJson = False,
    encoder: Encoder = None,
) -> None:
    """Find the memories that are nearest to a query.

    \b
    adamem memory search memory.db 'where does Anna live?' --top-k 4
    """
    with MemoryEngine(file, encoder=encoder, readonly=True) as memory:
        hits = memory.search(query, namespace=namespace, top_k=top_k)
    if as_json:
        for hit in hits:
            _print_json({"rank": hit.rank, "score": hit.score, **_plain(hit.memory)})
        return
    _print_table(hits)


@memory_app.command("list")
def list_memories(file: File, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List what a namespace holds now, by id.

    \b
    adamem memory list memory.db --namespace anna
    """
    with MemoryEngine(file, readonly=True) as memory:
        _show(memory.get_all(namespace=namespace), as_json=as_json)


@memory_app.command()
def get(file: File, number: Number) -> None:
    """Show one memory whole, as JSON, in whatever state it is.

    \b
    adamem memory get memory.db 1
    """
    with MemoryEngine(file, readonly=True) as memory:
        sys.stdout.write(json.dumps(_plain(memory.get(number)), ensure_ascii=False, indent=1) + "\n")


@memory_app.command()
def history(
    file: File,
    slot: Annotated[str, typer.Argument(help="Such as home.city.")],
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show what was in a slot, in the order in which it held.

    \b
    adamem memory history memory.db home.city --namespace anna
    """
    with MemoryEngine(file, readonly=True) as memory:
        _show(memory.history(slot, namespace=namespace), as_json=as_json)


@memory_app.command()
def delete(file: File, number: Number) -> None:
    """Hide a memory from every search.

    \b
    adamem memory delete memory.db 1
    """
    with MemoryEngine(_existing(file)) as memory:
        memory.delete(number)


@memory_app.command()
def restore(file: File, number: Number) -> None:
    """Bring back a memory that was deleted.

    \b
    adamem memory restore memory.db 1
    """
    with MemoryEngine(_existing(file)) as memory:
        memory.restore(number)


def _existing(file: Path) -> Path:
    """A file that is there: what is to be changed is not made by being mistyped."""
    if not file.exists():
        raise StorageError(f"there is no memory file {file}; check the path")
    return file


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f'--metadata is no JSON ({error}); write --metadata \'{{"source": "chat"}}\'') from error
    if not isinstance(found, dict):
        raise InvalidInput(f'--metadata must be a JSON object, not {text}; write --metadata \'{{"source": "chat"}}\'')
    return found


def _show(memories: Iterable[Memory], *, as_json: bool) -> None:
    for one in memories:
        if as_json:
            _print_json(_plain(one))
        else:
            held = f"{one.valid_from:%Y-%m-%d}" + (f" to {one.valid_to:%Y-%m-%d}" if one.valid_to else "")
            output.print(f"{one.id}  {held}  {one.text}", markup=False, soft_wrap=True)


def _print_table(hits: list[Hit]) -> None:
    if not hits:
        output.print("nothing found", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "score", "id", "text"):
        table.add_column(heading, justify="left" if heading == "text" else "right", overflow="fold")
    for hit in hits:
        table.add_row(str(hit.rank), f"{hit.score:.3f}", str(hit.memory.id), Text(hit.memory.text))
    output.print(table)


def _plain(memory: Memory) -> dict[str, Any]:
    said = {field.name: getattr(memory, field.name) for field in dataclasses.fields(memory)}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in said.items()}


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
