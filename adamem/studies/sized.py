"""What studies in sizes and parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from adamem.bench import Reporter, validate
from adamem.bench.sized import SizedExperiment, SizeName
from adamem.errors import UnknownName

ExperimentT = TypeVar("ExperimentT", bound=SizedExperiment[Any])


class SizedStudy(Generic[ExperimentT]):
    """A study of an experiment that comes in sizes and is run part by part; see `adamem.studies.protocol.Study`.

    What is peculiar to one is what its experiment's file may say, its parts, what it would do, and doing it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    experiments: ClassVar[type[SizedExperiment[Any]]]
    """What its file is validated as: an `ExperimentT`, which a class variable cannot say."""

    def __init__(self, experiment: ExperimentT, *, only: tuple[str, ...] | None = None) -> None:
        self.experiment = experiment
        self.only = only

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any], *, source: str) -> Self:
        """The study that a TOML file's tables describe. Raises `ConfigError` naming `source` and the key."""
        return cls(cast("ExperimentT", validate(cls.experiments, tables, source=source)))

    @property
    def folder_name(self) -> str:
        """The experiment's name, which has its size in it where that is not the default."""
        return self.experiment.name

    def sized(self, size: SizeName) -> Self:
        """The same in another size, into a folder of its own. Raises `InvalidInput` if there is no table for it."""
        return type(self)(self.experiment.sized(size), only=self.only)

    def part(self, keys: Sequence[str]) -> Self:
        """Only these parts, in the experiment's order. Raises `UnknownName` for one that it does not have."""
        known = self.parts()
        for key in keys:
            if key not in known:
                raise UnknownName.of("part of this experiment", key, known)
        return type(self)(self.experiment, only=tuple(key for key in known if key in keys))

    def parts(self) -> Sequence[str]:
        """The names of the parts."""
        raise NotImplementedError

    def forecast(self, *, reporter: Reporter) -> str:
        """What a run would do and about how long it would take, in words."""
        raise NotImplementedError

    def run(self, out: Path, *, reporter: Reporter, done: Callable[[Path], object]) -> Path:
        """Run into the folder `out`, or go on with what is there."""
        raise NotImplementedError
