"""What experiments that come in sizes share: a TOML file with a table for each size, of which one is run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adamem.errors import InvalidInput

SizeName = Literal["quick", "default", "full"]
Count = Annotated[int, Field(ge=1, strict=True)]


class Section(BaseModel):
    """One table of an experiment's file: nothing unknown is in it, and nothing changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SizeT = TypeVar("SizeT", bound=Section)


class SizedExperiment(Section, Generic[SizeT]):
    """A whole experiment in its sizes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    study: str
    expected: str = ""
    machine: str = ""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    launch: str = ""
    encoder: Annotated[str, Field(min_length=1)] = "minilm"
    device: Literal["auto", "cpu"] = "auto"
    """Where models run: ``auto`` takes a GPU where there is one."""
    size: SizeName = "default"
    """Which of the tables below is run."""
    quick: SizeT | None = None
    default: SizeT | None = None
    full: SizeT | None = None

    @model_validator(mode="after")
    def _has_its_size(self) -> Self:
        if self._of(self.size) is None:
            raise ValueError(f"has no table [{self.size}], which its size asks for; add it")
        return self

    @property
    def chosen(self) -> SizeT:
        """The size that is run."""
        chosen = self._of(self.size)
        assert chosen is not None  # validated
        return chosen

    def sized(self, size: SizeName) -> Self:
        """The same in another size, under a name of its own. Raises `InvalidInput` if there is no table for it."""
        if self._of(size) is None:
            raise InvalidInput(f"{self.name} has no table [{size}]; add one, or leave out --{size}")
        launch = f"{self.launch} --{size}" if self.launch else ""
        return self.model_copy(update={"size": size, "name": f"{self.name}-{size}", "launch": launch})

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in; of the sizes the one that is run."""
        others = {"quick", "default", "full"} - {self.size}
        return self.model_dump(mode="json", exclude=others)

    def _of(self, size: SizeName) -> SizeT | None:
        return {"quick": self.quick, "default": self.default, "full": self.full}[size]


def require_known(what: str, names: list[str], known: Iterable[str]) -> None:
    """Raise `ValueError` unless all names are known, and none stands twice."""
    listed = list(known)
    for name in names:
        if name not in listed:
            raise ValueError(f"{what} has {name!r}, expected one of {', '.join(listed)}")
        if names.count(name) > 1:
            raise ValueError(f"{what} has {name!r} twice; drop one")
