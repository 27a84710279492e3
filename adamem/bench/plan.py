"""From a config to what will be built and asked: grids crossed, names and ranges checked against the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from adamem.bench.config import ContestantConfig, Experiment, Grid
from adamem.bench.runtime import Runtime, runtime_of
from adamem.errors import ConfigError, UserError
from adamem.index import Index, Param, check_params, index_class
from adamem.types import Metric, ParamValue

Params = dict[str, ParamValue]


@dataclass(frozen=True)
class ContestantPlan:
    """One contestant, expanded. All parameters are complete: the config's values over the index's defaults."""

    config: ContestantConfig
    kind: type[Index]
    builds: list[Params]
    searches: list[Params]
    """By the other parameters, then by rising effort."""
    effort: str | None
    """The search parameter along which recall is bought; None if the index has none."""
    default_build: Params
    """What a user gets without a word, but for the values that the config fixes (a `storage`, a `form`)."""
    default_search: Params
    runtime: Runtime | None = None
    """The interpreter and the environment of its workers; None for those of the run itself."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        return self.config.name

    @property
    def reference_build(self) -> Params:
        """The one build that ratios refer to."""
        return {**self.default_build, **self.config.reference_build}


def expand(experiment: Experiment, *, metric: Metric | None, source: str) -> list[ContestantPlan]:
    """Every contestant's grid. With `metric` None everything is checked but whether the indexes support it.

    Raises
    ------
    ConfigError
        for an unknown index or parameter, a value out of its range, a metric that an index does not support, or an
        interpreter that cannot measure, naming `source`, the key and what was expected.
    """
    plans = [_expand_one(one, metric, source) for one in experiment.contestant]
    reference = reference_of(plans)
    if reference is not None and reference.reference_build not in reference.builds:
        # What all ratios refer to is tuned like everything else.
        reference.builds.append(reference.reference_build)
    return plans


def reference_of(plans: list[ContestantPlan]) -> ContestantPlan | None:
    """The contestant that ratios refer to: the one marked so, else the first hnsw, else none."""
    for plan in plans:
        if plan.config.reference:
            return plan
    return next((plan for plan in plans if plan.config.index == "hnsw"), None)


def crossed(grid: Grid, known: tuple[Param, ...], effort: str | None = None) -> list[Params]:
    """Every combination of a grid's values over the defaults; the effort parameter varies fastest, rising."""
    values = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
    if effort in values:
        values = {**{k: v for k, v in values.items() if k != effort}, effort: sorted(values[effort])}
    defaults: Params = {param.name: param.default for param in known}
    return [{**defaults, **dict(zip(values, chosen, strict=True))} for chosen in product(*values.values())]


def effort_of(kind: type[Index]) -> str | None:
    """The first search parameter that buys recall with time."""
    return next((param.name for param in kind.search_params if param.effort), None)


def sweep_grid(params: tuple[Param, ...]) -> Grid:
    """What `adamem compare` tries: the values that each parameter suggests for itself."""
    return {param.name: list(param.sweep) for param in params if param.sweep}


def runtimes_told(plans: list[ContestantPlan]) -> dict[str, dict[str, Any]]:
    """What run.json's config says of those who run elsewhere, by name under ``runtimes``; nothing where nobody does."""
    told = {plan.name: plan.runtime.spec() for plan in plans if plan.runtime is not None}
    return {"runtimes": told} if told else {}


def _expand_one(one: ContestantConfig, metric: Metric | None, source: str) -> ContestantPlan:
    where = f"{source}: contestant[{one.name!r}]"
    runtime = runtime_of(one, source=source, where=where)
    try:
        kind = index_class(one.index) if runtime is None else runtime.kind
    except UserError as error:
        raise ConfigError(f"{where}.index = {one.index!r}: {error}") from error
    if metric is not None and metric not in kind.capabilities.metrics:
        supported = ", ".join(kind.capabilities.metrics)
        raise ConfigError(
            f"{where}.index = {one.index!r}: does not support this data set's metric {metric!r}, only {supported}; "
            "drop this contestant or choose another data set"
        )
    effort = effort_of(kind)
    for key, grid, known, stage in (
        ("build", one.build, kind.build_params, "build"),
        ("search", one.search, kind.search_params, "search"),
        ("reference_build", one.reference_build, kind.build_params, "build"),
    ):
        _check_grid(grid, known, index=one.index, stage=stage, where=f"{where}.{key}")
    fixed: Params = {name: value for name, value in one.build.items() if not isinstance(value, list)}
    fixed_search: Params = {name: value for name, value in one.search.items() if not isinstance(value, list)}
    return ContestantPlan(
        config=one,
        kind=kind,
        builds=crossed(one.build, kind.build_params),
        searches=crossed(one.search, kind.search_params, effort),
        effort=effort,
        default_build={**{param.name: param.default for param in kind.build_params}, **fixed},
        default_search={**{param.name: param.default for param in kind.search_params}, **fixed_search},
        runtime=runtime,
    )


def _check_grid(
    grid: Mapping[str, ParamValue | list[ParamValue]], known: tuple[Param, ...], *, index: str, stage: str, where: str
) -> None:
    for name, values in grid.items():
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise ConfigError(f"{where}.{name} = []: expected at least one value")
        if len({(type(value), value) for value in listed}) < len(listed):
            raise ConfigError(f"{where}.{name} = {listed!r}: names a value twice")
        for value in listed:
            try:
                check_params({name: value}, known, index=index, stage=stage)
            except UserError as error:
                raise ConfigError(f"{where}.{name} = {value!r}: {error}") from error
