"""The sequences of tasks by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from adamem.bench.adaptation.banking import banking
from adamem.bench.adaptation.invented import invented
from adamem.bench.adaptation.koziev import koziev
from adamem.bench.adaptation.medquad import medquad
from adamem.bench.adaptation.realmem import realmem
from adamem.bench.adaptation.tasks import Sizes, TaskSequence
from adamem.errors import UnknownName

SEQUENCES: dict[str, Callable[..., TaskSequence]] = {
    "koziev": koziev,
    "banking": banking,
    "medquad": medquad,
    "realmem": realmem,
    "invented": invented,
    "invented-renamed": partial(invented, renamed=True),
}


def sequence_of(name: str, *, sizes: Sizes, seed: int) -> TaskSequence:
    """The sequence `name`, cut to its sizes and drawn by the seed.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as the sequences do.
    """
    if name not in SEQUENCES:
        raise UnknownName.of("sequence of tasks", name, SEQUENCES)
    return SEQUENCES[name](sizes=sizes, seed=seed)
