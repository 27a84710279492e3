"""The data set that an experiment names, embedded if it is one of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from adamem.bench.config import Experiment
from adamem.bench.context import Reporter
from adamem.data import Dataset, Progress, load
from adamem.encoders import Encoder, open_encoder


def load_dataset(experiment: Experiment, *, reporter: Reporter) -> Dataset:
    """Raises a `UserError` that says what is missing."""
    wanted = experiment.dataset
    with progress_of(reporter) as progress:
        found = load(
            wanted.name,
            metric=wanted.metric,
            encoder=None if wanted.encoder is None else partial(_open, wanted.encoder),
            fallback=partial(_open, None),  # the environment's EMBED_MODEL, or the default model
            limit=wanted.limit,
            queries=wanted.queries,
            seed=experiment.measure.seed,
            progress=progress,
        )
    if len(found.queries) < wanted.queries:
        reporter.say(
            f"{found.name} gives {len(found.queries)} queries, not {wanted.queries}: it has no more distinct ones, or "
            "none of its own and a tenth of its rows stands in for them"
        )
    return found


@contextmanager
def progress_of(reporter: Reporter) -> Iterator[Progress]:
    """The data layer's progress calls, passed on to a reporter."""
    current = ""
    told = 0

    def progress(done: int, total: int, what: str, /) -> None:
        nonlocal current, told
        if what != current:
            reporter.stage(what, total)
            current, told = what, 0
        reporter.advance(done - told)
        told = done

    yield progress


def _open(spec: str | None, texts: Sequence[str]) -> Encoder:
    """Some encoders are fitted to the collection, so that it is only now that they can be opened."""
    return open_encoder(spec, fit_on=texts)
