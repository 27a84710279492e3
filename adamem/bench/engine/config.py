"""An experiment on the engine as data: what its TOML file may say."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adamem.types import ParamValue

_Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetConfig(_Section):
    """One collection of texts with marked evidence."""

    key: _Key
    """What its pieces and the report call it."""
    dataset: Annotated[str, Field(min_length=1)]
    """A card's name, or the path of a folder with corpus.jsonl, queries.jsonl and qrels.tsv."""
    vectors: str | None = None
    """A set of vectors that the encoder made of the very same rows and queries, by their ids; where left out, they are
    embedded."""
    limit: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Only the first so many rows, and of the queries those that have all their evidence among them."""
    title: str = ""
    language: str = ""
    """Of its texts, in a word."""
    control: Annotated[bool, Field(strict=True)] = False
    """Whether nothing good is expected here: it shows that the measure can tell."""
    development: Annotated[int, Field(ge=1, strict=True)] = 500
    """Queries, a fifth at most, on which the weights of a fusion are chosen."""
    queries: Annotated[int, Field(ge=2, strict=True)] = 2000
    """Of the others, so many at most are the test."""


class EngineContestant(_Section):
    """One index underneath."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    index: str
    build: dict[str, ParamValue] = {}
    search: dict[str, ParamValue] = {}


class AnswersConfig(_Section):
    """What is best embedded of a question with its answer, measured on questions that are worded otherwise."""

    dataset: str
    queries: Annotated[int, Field(ge=2, strict=True)] = 2000


class RetentionConfig(_Section):
    """Whether what came first is still found when much has come after."""

    dataset: str
    first: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The share that comes first, and that is asked for."""
    stages: list[Annotated[float, Field(gt=0, le=1)]] = [0.01, 0.03, 0.1, 0.3, 1.0]
    """Shares of all that have been added whenever it is asked."""
    queries: Annotated[int, Field(ge=2, strict=True)] = 500


class ScaleConfig(_Section):
    """What much of it takes."""

    dataset: str
    """Vectors of the engine's encoder, with rows enough."""
    texts: str
    """The collection whose texts stand beside the vectors, again and again."""
    sizes: list[Annotated[int, Field(ge=1_000, strict=True)]]
    queries: Annotated[int, Field(ge=10, strict=True)] = 1000
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2


class NamespacesConfig(_Section):
    """What many small namespaces take."""

    count: Annotated[int, Field(ge=2, strict=True)] = 10_000
    each: Annotated[int, Field(ge=1, strict=True)] = 100
    asked: Annotated[int, Field(ge=2, strict=True)] = 500
    dim: Annotated[int, Field(ge=2, strict=True)] = 384


class EngineExperiment(_Section):
    """A whole experiment on the engine."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    title: str
    study: str = "engine"
    expected: str = ""
    machine: str = ""
    wall_minutes: Annotated[float, Field(gt=0)] | None = None
    launch: str = ""
    encoder: Annotated[str, Field(min_length=1)] = "minilm"
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    encoded: Annotated[int, Field(ge=2, strict=True)] = 200
    """So many queries of each set are embedded by the engine itself, which is timed; the rest beforehand."""
    set: Annotated[list[SetConfig], Field(min_length=1)]
    contestant: Annotated[list[EngineContestant], Field(min_length=1)]
    """The first is searched for words as well, and is what the others are compared with."""
    answers: AnswersConfig | None = None
    retention: RetentionConfig | None = None
    scale: ScaleConfig | None = None
    namespaces: NamespacesConfig | None = None

    @model_validator(mode="after")
    def _differ(self) -> Self:
        for what, names in (("set", [one.key for one in self.set]), ("contestant", [c.name for c in self.contestant])):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"two of [[{what}]] are called {name!r}; give each a name of its own")
        return self

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in."""
        return self.model_dump(mode="json")
