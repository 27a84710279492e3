"""An experiment on adaptation as data: what its TOML file may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adamem.bench.adaptation.arms import ARMS, FOLLOWS
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.sequences import SEQUENCES
from adamem.bench.adaptation.tasks import Sizes
from adamem.bench.adaptation.variants import Variants
from adamem.errors import InvalidInput

SizeName = Literal["quick", "default", "full"]
_Count = Annotated[int, Field(ge=1, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SizesConfig(_Section):
    """At most so much of a sequence; see `Sizes`."""

    tasks: _Count = 4
    documents: _Count = 500
    lessons: _Count = 150
    held_out: _Count = 75
    general: _Count = 200

    def sizes(self) -> Sizes:
        """As the sequences take it."""
        return Sizes(**self.model_dump())


class LearningConfig(_Section):
    """How the arms learn; see `Learning` for what each is."""

    rank: _Count = 16
    alpha: _Count = 32
    rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    epochs: _Count = 3
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.5
    reservoir: _Count = 200
    beside: _Count = 7
    bridge: Annotated[float, Field(gt=0, le=1)] = 0.2
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2

    def learning(self) -> Learning:
        """As the arms take it."""
        return Learning(**self.model_dump())


class VariantsConfig(_Section):
    """What single arms have of their own; see `Variants` for what each is."""

    full_rate: Annotated[float, Field(gt=0, le=1)] = 2e-5
    gentle_rate: Annotated[float, Field(gt=0, le=1)] = 5e-5
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.01
    among: _Count = 500

    def variants(self) -> Variants:
        """As the arms take it."""
        return Variants(**self.model_dump())


class AcquisitionConfig(_Section):
    """Whether one update is enough: facts taught once each, in a stream of other updates."""

    sets: Annotated[list[str], Field(min_length=1)]
    probes: Annotated[int, Field(ge=2, strict=True)] = 30
    """Facts that are taught and asked for; as many others are asked for and never taught."""
    further: Annotated[list[_Count], Field(min_length=1)] = [10, 100, 1000]
    """So many further updates after its own, a fact is asked for again; the first is also what lies between two."""
    pool: Annotated[int, Field(ge=10, strict=True)] = 250
    """Documents among which is searched: those of the facts, and others drawn at random."""
    before: _Count = 20
    """Updates before the first fact, which fill the reservoir."""
    tasks: _Count = 8
    documents: _Count = 2000
    lessons: _Count = 1000
    held_out: _Count = 300
    """These four are of the sequence that the updates come from; see `Sizes`."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        _require_known("sets", self.sets, SEQUENCES)
        if self.pool < 2 * self.probes:
            raise ValueError(f"a pool of {self.pool} cannot hold {2 * self.probes} facts; allow more, or fewer probes")
        if sorted(set(self.further)) != self.further:
            raise ValueError(f"further = {self.further} must rise")
        return self

    def sizes(self) -> Sizes:
        """Of the sequence that the updates come from."""
        return Sizes(
            tasks=self.tasks, documents=self.documents, lessons=self.lessons, held_out=self.held_out, general=1
        )


class ServingConfig(_Section):
    """What searches notice of an engine that learns: one file, asked all the time."""

    set: Annotated[str, Field(min_length=1)] = "koziev"
    memories: Annotated[int, Field(ge=8, strict=True)] = 2000
    """At most, those that are added later among them."""
    tasks: _Count = 4
    """Of the sequence that the texts come from, each with its share of the memories."""
    batches: _Count = 3
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    """So many updates by so many pairs each."""
    facts: _Count = 6
    """Updates by one pair, each of which teaches a fact that is added just before it."""
    golden: _Count = 40
    """Questions of the exam."""
    idle_seconds: Annotated[float, Field(gt=0)] = 5.0
    """So long nothing is learnt, before each update and after the last."""
    pause_ms: Annotated[float, Field(ge=0)] = 5.0
    """Between two questions."""
    timed: _Count = 200
    """So many queries are timed with and without what was learnt."""
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    """Of torch, in the process that serves; the one that learns has one."""
    nice: Annotated[int, Field(ge=0, le=19, strict=True)] = 10
    """How low the priority of the process is that learns."""
    seeds: _Count = 1

    @model_validator(mode="after")
    def _fit(self) -> Self:
        _require_known("set", [self.set], SEQUENCES)
        return self


class SizeConfig(_Section):
    """One of the sizes that an experiment comes in."""

    sets: Annotated[list[str], Field(min_length=1)]
    """Names of sequences of tasks, each a part of the run."""
    arms: Annotated[list[str], Field(min_length=1)]
    seeds: _Count = 3
    """Of the sequences and of what learns from them: 0, 1, ..."""
    sizes: SizesConfig = SizesConfig()
    acquisition: AcquisitionConfig | None = None
    serving: ServingConfig | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        _require_known("sets", self.sets, SEQUENCES)
        _require_known("arms", self.arms, ARMS)
        for place, arm in enumerate(self.arms):
            if (followed := FOLLOWS.get(arm)) is not None and followed not in self.arms[:place]:
                raise ValueError(f"arms has {arm!r}, which is measured by {followed!r}; put {followed!r} before it")
        return self


class AdaptationExperiment(_Section):
    """A whole experiment on adaptation, in its sizes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    study: str = "adaptation"
    expected: str = ""
    machine: str = ""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    launch: str = ""
    encoder: Annotated[str, Field(min_length=1)] = "minilm"
    device: Literal["auto", "cpu"] = "auto"
    """Where models run: ``auto`` takes a GPU where there is one."""
    size: SizeName = "default"
    """Which of the tables below is run."""
    learning: LearningConfig = LearningConfig()
    variants: VariantsConfig = VariantsConfig()
    quick: SizeConfig | None = None
    default: SizeConfig | None = None
    full: SizeConfig | None = None

    @model_validator(mode="after")
    def _has_its_size(self) -> Self:
        if getattr(self, self.size) is None:
            raise ValueError(f"has no table [{self.size}], which its size asks for; add it")
        return self

    @property
    def chosen(self) -> SizeConfig:
        """The size that is run."""
        chosen: SizeConfig = getattr(self, self.size)
        return chosen

    def sized(self, size: SizeName) -> Self:
        """The same in another size, under a name of its own. Raises `InvalidInput` if there is no table for it."""
        if getattr(self, size) is None:
            raise InvalidInput(f"{self.name} has no table [{size}]; add one, or leave out --{size}")
        return self.model_copy(update={"size": size, "name": f"{self.name}-{size}"})

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in; of the sizes the one that is run."""
        others = {"quick", "default", "full"} - {self.size}
        return self.model_dump(mode="json", exclude=others)


def _require_known(what: str, names: list[str], known: object) -> None:
    listed = list(known)  # type: ignore[call-overload]
    for name in names:
        if name not in listed:
            raise ValueError(f"{what} has {name!r}, expected one of {', '.join(listed)}")
        if names.count(name) > 1:
            raise ValueError(f"{what} has {name!r} twice; drop one")
