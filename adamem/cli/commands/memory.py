"""`adamem memory ...`: memories in one file, from the command line; and `adapmem`, which hands them on."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.table import Table
from rich.text import Text

from adamem.cli.app import app
from adamem.cli.terminal import TerminalReporter, output
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
    str | None, typer.Option("--encoder", help="minilm, lsa, hashing, owner/model or a folder; else the file's own.")
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
    said = _json_object(metadata, "--metadata")
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
    mode: Annotated[str, typer.Option("--mode", help="vector, lexical or hybrid.")] = "vector",
    kind: Annotated[list[str] | None, typer.Option("--type", help="Of this type only; may be said again.")] = None,
    where: Annotated[
        str | None, typer.Option("--where", help='A condition on the metadata, as JSON: \'{"age": {"gte": 18}}\'.')
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="What held then: 2026-05-01, or 2026-05-01T12:00:00+02:00.")
    ] = None,
    as_json: AsJson = False,
    encoder: Encoder = None,
) -> None:
    """Find the memories that answer a query best.

    \b
    adamem memory search memory.db 'where does Anna live?' --top-k 4
    adamem memory search memory.db 'where did Anna live?' --as-of 2026-04-01 --mode hybrid
    """
    with MemoryEngine(file, encoder=encoder, readonly=True) as memory:
        hits = memory.search(
            query,
            namespace=namespace,
            top_k=top_k,
            mode=mode,  # type: ignore[arg-type]  # checked by the engine
            type=kind or None,
            where=None if where is None else _json_object(where, "--where"),
            as_of=None if as_of is None else _moment(as_of),
        )
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


@memory_app.command()
def supersede(
    file: File,
    number: Number,
    text: Annotated[str, typer.Argument(help="What holds in its place.")],
    encoder: Encoder = None,
) -> None:
    """Remember a text in the place of a memory, which stays as its history, and print the new id.

    \b
    adamem memory supersede memory.db 12 'Anna moved to Austin'
    """
    with MemoryEngine(_existing(file), encoder=encoder) as memory:
        output.print(str(memory.supersede(number, text).id), markup=False)


@memory_app.command()
def purge(file: File, number: Number) -> None:
    """Take a memory out for good: of the file, every version and everything derived.

    \b
    adamem memory purge memory.db 1
    """
    with MemoryEngine(_existing(file)) as memory:
        memory.purge(number)


@memory_app.command()
def namespaces(file: File, as_json: AsJson = False) -> None:
    """List the namespaces, and how many memories hold in each.

    \b
    adamem memory namespaces memory.db
    """
    with MemoryEngine(file, readonly=True) as memory:
        for one in memory.namespaces():
            if as_json:
                _print_json({"name": one.name, "memories": one.memories, "created": one.created.isoformat()})
            else:
                output.print(f"{one.memories:>9,}  {one.name}", markup=False, soft_wrap=True)


@memory_app.command()
def stats(file: File, as_json: AsJson = False) -> None:
    """Say what is in a file and what it takes.

    \b
    adamem memory stats memory.db
    """
    with MemoryEngine(file, readonly=True) as memory:
        said = dataclasses.asdict(memory.stats())
    if as_json:
        _print_json(said)
        return
    for name, value in said.items():
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        output.print(f"{name.replace('_', ' '):<12} {shown}", markup=False, soft_wrap=True)


@memory_app.command()
def defrag(
    file: File,
    near: Annotated[
        float, typer.Option("--near", help="From which cosine on two memories are linked; 0 links none.")
    ] = 0.95,
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge near ones too that differ in case, punctuation or spacing only.")
    ] = False,
) -> None:
    """Take out what has expired and what is there twice, and link what is near to each other.

    \b
    adamem memory defrag memory.db
    """
    with MemoryEngine(_existing(file)) as memory, _Steps("looking at memories") as steps:
        done = memory.defrag(near=near or None, merge=merge, progress=steps)
    output.print(
        f"{done.expired:,} expired and {done.duplicates:,} double ones taken out, {done.linked:,} near pairs linked"
    )


@memory_app.command()
def reembed(
    file: File,
    encoder: Annotated[str, typer.Argument(help="minilm, lsa, hashing, owner/model or a folder.")],
    drop: Annotated[
        bool, typer.Option("--drop", help="Delete the vectors of the encoder before; else they are kept, to go back.")
    ] = False,
) -> None:
    """Embed all memories anew by another encoder; what is interrupted goes on from there.

    \b
    adamem memory reembed memory.db minilm
    """
    with MemoryEngine(_existing(file)) as memory, _Steps("embedding") as steps:
        count = memory.reembed(encoder, keep=not drop, progress=steps)
    output.print(f"{count:,} memories embedded by {encoder}", markup=False)


@memory_app.command()
def snapshot(
    file: File,
    name: Annotated[
        str | None, typer.Argument(help="What to call it; else the time of day.", show_default=False)
    ] = None,
) -> None:
    """Keep the whole file as it is now, in FILE.versions, and print its name.

    \b
    adamem memory snapshot memory.db before-the-import
    """
    with MemoryEngine(_existing(file)) as memory:
        output.print(memory.snapshot(name).name, markup=False)


@memory_app.command()
def versions(file: File, as_json: AsJson = False) -> None:
    """List what `snapshot` has kept.

    \b
    adamem memory versions memory.db
    """
    with MemoryEngine(file, readonly=True) as memory:
        for one in memory.versions():
            if as_json:
                said = dataclasses.asdict(one)
                _print_json(said | {"created": one.created.isoformat()})
            else:
                output.print(f"{one.created:%Y-%m-%d %H:%M:%S}  {one.memories:>9,}  {one.name}", markup=False)


@memory_app.command()
def rollback(file: File, version: Annotated[str, typer.Argument(help="As `versions` lists it.")]) -> None:
    """Make a file what it was when a version was taken; what was added since is gone.

    \b
    adamem memory rollback memory.db before-the-import
    """
    with MemoryEngine(_existing(file)) as memory:
        memory.rollback(version)


@memory_app.command()
def adaptations(file: File, as_json: AsJson = False) -> None:
    """List what the encoder has learnt, batch by batch; * is in use.

    \b
    adamem memory adaptations memory.db
    """
    with MemoryEngine(_existing(file), readonly=True) as memory:
        for one in memory.adaptations():
            if as_json:
                said = dataclasses.asdict(one)
                _print_json(said | {"created": one.created.isoformat()})
            else:
                judged = "" if one.before is None else f"  MRR@10 {one.before:.3f} -> {one.after:.3f}"
                output.print(
                    f"{'*' if one.in_use else ' '} {one.id:>4}  {one.created:%Y-%m-%d %H:%M:%S}  {one.kind}, moves "
                    f"{one.moves}, {one.lessons} lessons, {one.standing}{judged}{f'  {one.reason}' * bool(one.reason)}",
                    markup=False,
                    soft_wrap=True,
                )


@memory_app.command("use-adaptation")
def use_adaptation(
    file: File,
    adaptation: Annotated[str, typer.Argument(help="A number as `adaptations` lists it, or none.")],
) -> None:
    """Embed by what the encoder had learnt then, or as it came.

    \b
    adamem memory use-adaptation memory.db 3
    adamem memory use-adaptation memory.db none
    """
    if adaptation != "none" and not adaptation.isdecimal():
        raise InvalidInput(f"use-adaptation takes a number, or none, not {adaptation!r}")
    with MemoryEngine(_existing(file)) as memory, _Steps("embedding") as steps:
        memory.use_adaptation(None if adaptation == "none" else int(adaptation), progress=steps)


def export_memories(
    file: File,
    package: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)],
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Only this one; may be said again.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Under which they may be used.")] = None,
    adaptation: Annotated[
        bool, typer.Option("--adaptation", help="With what the encoder has learnt and is in use.")
    ] = False,
) -> None:
    """Write memories and their history to a package to hand on.

    \b
    adamem memory export memory.db memories.zip --licence CC-BY-4.0
    """
    with MemoryEngine(file, readonly=True) as memory:
        count = memory.export_package(package, namespaces=namespace or None, licence=licence, adaptation=adaptation)
    output.print(f"{count:,} memories written to {package}", markup=False, soft_wrap=True)


def import_memories(
    file: File,
    package: Annotated[Path, typer.Argument(help="What `export` has written.", show_default=False)],
    namespace: Namespace = None,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="What it may unpack to.")] = 8 << 30,
    encoder: Encoder = None,
) -> None:
    """Take in the memories of a package: all of them, or none.

    \b
    adamem memory import memory.db memories.zip
    """
    with MemoryEngine(file, encoder=encoder) as memory:
        done = memory.import_package(package, namespace=namespace, max_bytes=max_bytes)
    output.print(f"{done.memories:,} memories taken in", markup=False)


memory_app.command("export")(export_memories)
memory_app.command("import")(import_memories)
package_app = typer.Typer(no_args_is_help=True, help="Hand memories on: the export and import of `adamem memory`.")
package_app.command("export")(export_memories)
package_app.command("import")(import_memories)


class _Steps:
    """A progress bar for the engine's long verbs."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress = TerminalReporter()
        self._done: int | None = None

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *said: Any) -> None:
        self._progress.__exit__(*said)

    def __call__(self, done: int, total: int) -> None:
        if self._done is None:
            self._progress.stage(self._what, total)
            self._done = 0
        self._progress.advance(done - self._done)
        self._done = done


def _existing(file: Path) -> Path:
    """A file that is there: what is to be changed is not made by being mistyped."""
    if not file.exists():
        raise StorageError(f"there is no memory file {file}; check the path")
    return file


def _json_object(text: str, option: str) -> dict[str, Any]:
    way_out = f'write {option} \'{{"source": "chat"}}\''
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{option} is no JSON ({error}); {way_out}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{option} must be a JSON object, not {text}; {way_out}")
    return found


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--as-of is no date ({error}); write 2026-05-01, or 2026-05-01T12:00:00+02:00") from error
    return found if found.tzinfo is not None else found.astimezone()


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
