"""The seam between the harness and a kind of experiment: a new study is a new file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from adamem.bench import Reporter
from adamem.errors import MissingExtra, UnknownName

GROUP = "adamem.studies"


class Study(Protocol):
    """One kind of experiment. An experiment file names its study; where it names none, it is ``sweep``."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> Study:
        """The study that a TOML file's tables describe. Raises `ConfigError` naming `source` and the key."""
        ...

    @property
    def folder_name(self) -> str:
        """The run's folder below reports/."""
        ...

    def forecast(self, *, reporter: Reporter) -> str:
        """What a run would do and about how long it would take, in words; measures nothing that is kept."""
        ...

    def part(self, keys: Sequence[str]) -> Study:
        """The study cut down to some of its pieces. Raises `ConfigError` if it has none of that name."""
        ...

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """Run into the folder `out`, or go on with what is there.

        `done` is told of every folder in which something came to an end, as soon as it did: a study of many runs is
        more often interrupted than not, and what is whole shall have its report by then.
        """
        ...


@runtime_checkable
class Sized(Protocol):
    """A study that comes in several sizes; without a choice it is the default one."""

    def sized(self, size: Literal["quick", "default", "full"]) -> Study:
        """The same study in that size. Raises `InvalidInput` if the experiment has none."""
        ...


@cache
def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def study_names() -> tuple[str, ...]:
    """The names of every installed study."""
    return tuple(_entries())


def study_class(name: str) -> type[Study]:
    """The study registered under `name`. Raises `UnknownName`, or `MissingExtra` if its libraries are not installed."""
    entry = _entries().get(name)
    if entry is None:
        raise UnknownName.of("study", name, _entries())
    try:
        return cast("type[Study]", entry.load())
    except ImportError as error:
        if isinstance(error, MissingExtra):
            raise
        raise MissingExtra(
            f"the study {name!r} needs {error.name or error}; install what {entry.value} imports"
        ) from error
