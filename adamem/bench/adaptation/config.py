"""An experiment on adaptation as data: what its TOML file may say."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from adamem.bench.adaptation.arms import ARMS, FOLLOWS
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.sequences import SEQUENCES
from adamem.bench.adaptation.tasks import Sizes
from adamem.bench.adaptation.variants import Variants
from adamem.bench.sized import Count, Section, SizedExperiment, require_known


class SizesConfig(Section):
    """At most so much of a sequence; see `Sizes`."""

    tasks: Count = 4
    documents: Count = 500
    lessons: Count = 150
    held_out: Count = 75
    general: Count = 200

    def sizes(self) -> Sizes:
        """As the sequences take it."""
        return Sizes(**self.model_dump())


class LearningConfig(Section):
    """How the arms learn; see `Learning` for what each is."""

    rank: Count = 16
    alpha: Count = 32
    rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    epochs: Count = 3
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.5
    reservoir: Count = 200
    beside: Count = 7
    bridge: Annotated[float, Field(gt=0, le=1)] = 0.2
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2

    def learning(self) -> Learning:
        """As the arms take it."""
        return Learning(**self.model_dump())


class VariantsConfig(Section):
    """What single arms have of their own; see `Variants` for what each is."""

    full_rate: Annotated[float, Field(gt=0, le=1)] = 2e-5
    gentle_rate: Annotated[float, Field(gt=0, le=1)] = 5e-5
    held_out: Annotated[float, Field(gt=0, le=0.5)] = 0.1
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.01
    among: Count = 500

    def variants(self) -> Variants:
        """As the arms take it."""
        return Variants(**self.model_dump())


class AcquisitionConfig(Section):
    """Whether one update is enough: facts taught once each, in a stream of other updates."""

    sets: Annotated[list[str], Field(min_length=1)]
    probes: Annotated[int, Field(ge=2, strict=True)] = 30
    """Facts that are taught and asked for; as many others are asked for and never taught."""
    further: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 100, 1000)
    """So many further updates after its own, a fact is asked for again; the first is also what lies between two."""
    own_steps: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """So many steps of the optimiser a fact's own update takes; a stream of its own for each."""
    pool: Annotated[int, Field(ge=10, strict=True)] = 250
    """Documents among which is searched: those of the facts, and others drawn at random."""
    before: Count = 20
    """Updates before the first fact, which fill the reservoir."""
    tasks: Count = 8
    documents: Count = 2000
    lessons: Count = 1000
    held_out: Count = 300
    """These four are of the sequence that the updates come from; see `Sizes`."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        require_known("sets", self.sets, SEQUENCES)
        if self.pool < 2 * self.probes:
            raise ValueError(f"a pool of {self.pool} cannot hold {2 * self.probes} facts; allow more, or fewer probes")
        if tuple(sorted(set(self.further))) != self.further:
            raise ValueError(f"further = {list(self.further)} must rise")
        if tuple(sorted(set(self.own_steps))) != self.own_steps:
            raise ValueError(f"own_steps = {list(self.own_steps)} must rise")
        return self

    def sizes(self) -> Sizes:
        """Of the sequence that the updates come from."""
        return Sizes(
            tasks=self.tasks, documents=self.documents, lessons=self.lessons, held_out=self.held_out, general=1
        )


class ServingConfig(Section):
    """What searches notice of an engine that learns: one file, asked all the time."""

    set: Annotated[str, Field(min_length=1)] = "koziev"
    memories: Annotated[int, Field(ge=8, strict=True)] = 2000
    """At most, those that are added later among them."""
    tasks: Count = 4
    """Of the sequence that the texts come from, each with its share of the memories."""
    batches: Count = 3
    batch: Annotated[int, Field(ge=2, strict=True)] = 32
    """So many updates by so many pairs each."""
    facts: Count = 6
    """Updates by one pair, each of which teaches a fact that is added just before it."""
    golden: Count = 40
    """Questions of the exam."""
    idle_seconds: Annotated[float, Field(gt=0)] = 5.0
    """So long nothing is learnt, before each update and after the last."""
    pause_ms: Annotated[float, Field(ge=0)] = 5.0
    """Between two questions."""
    timed: Count = 200
    """So many queries are timed with and without what was learnt."""
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    """Of torch, in the process that serves; the one that learns has one."""
    nice: Annotated[int, Field(ge=0, le=19, strict=True)] = 10
    """How low the priority of the process is that learns."""
    seeds: Count = 1

    @model_validator(mode="after")
    def _fit(self) -> Self:
        require_known("set", [self.set], SEQUENCES)
        return self


class SizeConfig(Section):
    """One of the sizes that an experiment comes in."""

    sets: Annotated[list[str], Field(min_length=1)]
    """Names of sequences of tasks, each a part of the run."""
    arms: Annotated[list[str], Field(min_length=1)]
    seeds: Count = 3
    """Of the sequences and of what learns from them: 0, 1, ..."""
    sizes: SizesConfig = SizesConfig()
    acquisition: AcquisitionConfig | None = None
    serving: ServingConfig | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        require_known("sets", self.sets, SEQUENCES)
        require_known("arms", self.arms, ARMS)
        for place, arm in enumerate(self.arms):
            if (followed := FOLLOWS.get(arm)) is not None and followed not in self.arms[:place]:
                raise ValueError(f"arms has {arm!r}, which is measured by {followed!r}; put {followed!r} before it")
        return self


class AdaptationExperiment(SizedExperiment[SizeConfig]):
    """A whole experiment on adaptation."""

    study: str = "adaptation"
    learning: LearningConfig = LearningConfig()
    variants: VariantsConfig = VariantsConfig()
