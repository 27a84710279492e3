"""What an adapter learns from: a query and a document that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adamem.errors import InvalidInput


@dataclass(frozen=True)
class Pair:
    """A query and a document that answers it.

    In training each query is held against the other pairs' documents as well, as documents that do not answer it. Where
    that would be false, name a group: pairs of one group are never held against each other, nor are pairs that share a
    text. Texts may be of any length; the model cuts them where it always does.

    Parameters
    ----------
    query, document, group
        As above.
    shared
        Further groups that it is of.
    against
        Documents that are known not to answer the query (hard negatives): it is held against these as well.

    Raises
    ------
    InvalidInput
        if a text is empty or blank, or the document is among those that it is held against.
    """

    query: str
    document: str
    group: str | None = None
    shared: tuple[str, ...] = field(default=(), kw_only=True)
    against: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for side, text in (("query", self.query), *(("document", text) for text in (self.document, *self.against))):
            if not text.strip():
                raise InvalidInput(f"the {side} of a pair is {text!r}, expected a text; leave this pair out")
        if self.document in self.against:
            raise InvalidInput(
                f"{self.document[:60]!r} is said to answer {self.query[:60]!r} and not to; leave it out of against"
            )

    @property
    def keys(self) -> frozenset[str]:
        """Two pairs that share one of these must not be held against each other."""
        # A NUL keeps a group apart from a text that reads the same.
        groups = (*self.shared, *(() if self.group is None else (self.group,)))
        return frozenset({self.query, self.document, *(f"\0{group}" for group in groups)})


def agreeing(pairs: Sequence[Pair]) -> npt.NDArray[np.bool_]:
    """Which pairs must not be held against each other: bool (n, n), symmetric, True on the diagonal."""
    holders: dict[str, list[int]] = {}
    for row, pair in enumerate(pairs):
        for key in pair.keys:
            holders.setdefault(key, []).append(row)
    agree = np.eye(len(pairs), dtype=bool)
    for rows in holders.values():
        agree[np.ix_(rows, rows)] = True
    return agree


def require_contrast(pairs: Sequence[Pair]) -> None:
    """Raise `InvalidInput` unless two of the pairs may be held against each other: else there is nothing to learn."""
    # The first pair settles it almost always, and without a matrix of all pairs.
    if any(pairs[0].keys.isdisjoint(pair.keys) for pair in pairs) or not agreeing(pairs).all():
        return
    raise InvalidInput(
        f"{len(pairs)} pairs of which no two may be held against each other teach nothing: one query is told from "
        "another's document; add pairs of other facts, or replay former ones"
    )
