"""One experiment over several data sets: each is a whole run in a folder of its own, below that of the suite.

::

    <suite>/
      suite.json       what was asked for: the resolved config
      <key>/           the run on the data set of that key (`adamem.bench.records`), with its report
      README.md ...    the overview, which `adamem.report` writes from the reports of those that are finished
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adamem import __version__
from adamem.bench.config import DatasetConfig, Experiment, Plan
from adamem.bench.plan import expand
from adamem.bench.store import RunFolder
from adamem.bench.toml import validate
from adamem.errors import ConfigError, CorruptResult, InvalidInput, UnknownName
from adamem.files import write_json

FILE = "suite.json"
FORMAT = 1


class MemberConfig(DatasetConfig):
    """One data set of a suite, and what is otherwise on it."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """Its folder, unique in the suite; --only and the overview call it so."""
    title: str = ""
    """What its report says after the suite's title; the key where left out."""
    contestants: Annotated[list[str], Field(min_length=1)] | None = None
    """The names of those that take part here; all where left out."""
    measure: dict[str, Any] = Field(default_factory=dict)
    """Values of [measure] that differ here."""
    grids: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By contestant's name, ``build`` and ``search`` values that differ here, such as pieces of a vector of another
    length."""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    """How long it took on the suite's machine."""


class Suite(Plan):
    """A whole suite."""

    dataset: Annotated[list[MemberConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _keys_differ(self) -> Suite:
        keys = [one.key for one in self.dataset]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"two data sets have the key {key!r}; give each a key of its own")
        known = {one.name for one in self.contestant}
        for one in self.dataset:
            for place, names in (("contestants", one.contestants or ()), ("grids", one.grids)):
                for name in names:
                    if name not in known:
                        raise ValueError(
                            f"dataset[{one.key!r}].{place} names {name!r}; expected some of {', '.join(sorted(known))}"
                        )
        if "/" in self.name:
            raise ValueError(f"name = {self.name!r}: a suite's own name has no slash; its data sets' folders do")
        return self


def experiments_of(suite: Suite, *, source: str) -> dict[str, Experiment]:
    """The experiment on each data set, by key, in the config's order.

    Raises
    ------
    ConfigError
        if an override does not fit, naming `source`, the data set and the key.
    """
    shared = suite.model_dump(exclude={"dataset", "measure", "contestant", "expected", "wall_minutes", "launch"})
    given = suite.measure.model_dump()
    out = {}
    for one in suite.dataset:
        tables = {
            **shared,
            "name": f"{suite.name}/{one.key}",
            "title": f"{suite.title}: {one.title or one.key}",
            "launch": f"{suite.launch} --only {one.key}" if suite.launch else "",
            "dataset": {name: getattr(one, name) for name in DatasetConfig.model_fields},
            "measure": {**given, **one.measure},
            "contestant": [
                _with_grid(who.model_dump(), one.grids.get(who.name, {}))
                for who in suite.contestant
                if one.contestants is None or who.name in one.contestants
            ],
        }
        out[one.key] = validate(Experiment, tables, source=f"{source}: dataset[{one.key!r}]")
    return out


def _with_grid(contestant: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The contestant with some values of its grids replaced; what is no table stays for the validation to name."""
    out = dict(contestant)
    for part, values in changes.items():
        merge = part in ("build", "search") and isinstance(values, dict)
        out[part] = {**contestant[part], **values} if merge else values
    return out


def check(experiments: dict[str, Experiment], *, source: str) -> None:
    """Look at every grid before anything takes long. Raises `ConfigError`."""
    for key, experiment in experiments.items():
        expand(experiment, metric=experiment.dataset.metric, source=f"{source}: dataset[{key!r}]")


class SuiteRecord(BaseModel):
    """suite.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    adamem: str
    config: dict[str, Any]
    """The resolved `Suite`."""

    def suite(self, path: Path) -> Suite:
        """The config, checked again. Raises `CorruptResult`."""
        try:
            return validate(Suite, self.config, source=str(path))
        except ConfigError as error:
            raise CorruptResult(f"{error}; restore the file or run the suite again") from error


def is_suite(path: Path) -> bool:
    """Whether the folder is a suite's."""
    return (Path(path) / FILE).is_file()


def read_suite(path: Path) -> Suite:
    """The suite in a folder. Raises `CorruptResult` if its record is not what was written."""
    return read_record(path).suite(Path(path) / FILE)


def read_record(path: Path) -> SuiteRecord:
    """suite.json as it was written. Raises `CorruptResult` if it is not."""
    file = Path(path) / FILE
    try:
        record = SuiteRecord.model_validate_json(file.read_bytes())
    except (OSError, ValidationError, ValueError) as error:
        raise CorruptResult(
            f"{file} is not a suite's record ({str(error).splitlines()[0]}); restore it or run the suite again"
        ) from error
    if record.format > FORMAT:
        raise CorruptResult(f"{file} has format {record.format}, this version reads up to {FORMAT}; upgrade adamem")
    return record


def pieces(path: Path) -> list[Path]:
    """The folders of a suite's data sets in which a run was begun; none where the folder is a run's."""
    if not is_suite(path):
        return []
    folders = [Path(path) / one.key for one in read_suite(path).dataset]
    return [folder for folder in folders if RunFolder(folder).exists]


def begin_suite(path: Path, suite: Suite) -> None:
    """Write down what is asked for; a config that has changed since replaces the former.

    Raises
    ------
    InvalidInput
        if the folder holds something else than this suite.
    StorageError
        if it cannot be written.
    """
    if is_suite(path):
        held = read_suite(path).name
        if held != suite.name:
            raise InvalidInput(
                f"{path} holds the suite {held!r}, and this is {suite.name!r}; choose another folder with --out, or "
                "remove that one"
            )
    elif path.is_dir():
        known = {one.key for one in suite.dataset}
        others = sorted(one.name for one in os.scandir(path) if one.name not in known and not one.name.startswith("."))
        if others:
            raise InvalidInput(
                f"{path} holds {others[0]}, which is no suite's, and a suite would replace files there; choose a new "
                "folder with --out"
            )
    config = suite.resolved()
    if not is_suite(path) or read_suite(path).resolved() != config:
        write_json(path / FILE, {"format": FORMAT, "adamem": __version__, "config": config})


def some_of(experiments: dict[str, Experiment], keys: list[str]) -> dict[str, Experiment]:
    """Those of the given keys, in the config's order. Raises `UnknownName`."""
    for key in keys:
        if key not in experiments:
            raise UnknownName.of("data set of this suite", key, experiments)
    return {key: one for key, one in experiments.items() if key in keys}
