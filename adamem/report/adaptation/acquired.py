"""What single updates have taught: facts asked for before their one update, right after it, and later."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from adamem.bench.paired import Paired, paired
from adamem.bench.pieces import Piece
from adamem.bench.stats import Estimate
from adamem.report.adaptation.distinct import contrast, means_by_key, share
from adamem.report.adaptation.timed import counting, mostly_on
from adamem.types import AnyArray, DoubleArray

MOMENTS = ("untouched", "before")
"""The first moments at which facts are asked for; then come so many updates after their own."""
_Key = tuple[str | bool | None, ...]


def named(key: str, steps: int) -> str:
    """What the report calls the single updates of a set, of so many steps each."""
    return key if steps == 1 else f"{key}, {steps} steps"


@dataclass(frozen=True)
class Acquired:
    """What single updates taught, over all seeds.

    What counts is the fact: the mean over its questions, and over the seeds that ask for it, is one value. Whether a
    fact is taught or not is drawn by each seed.
    """

    set: str
    steps: int
    """That a fact's own update took."""
    pieces: tuple[Piece, ...]
    arrays: tuple[dict[str, AnyArray], ...]
    further: tuple[int, ...]
    _estimates: dict[_Key, Estimate] = field(default_factory=dict, repr=False)
    _changes: dict[_Key, Paired] = field(default_factory=dict, repr=False)
    """What has been compared already."""

    @property
    def key(self) -> str:
        """What the report calls it."""
        return named(self.set, self.steps)

    @property
    def moments(self) -> tuple[str, ...]:
        """``untouched``, ``before`` its own update, and then ``0`` and so many further updates after it."""
        return (*MOMENTS, *(str(more) for more in (0, *self.further)))

    @property
    def last(self) -> str:
        """The last of the moments."""
        return self.moments[-1]

    @property
    def forms(self) -> list[str]:
        """The forms in which facts are asked for, by name; empty where the collection tells none apart."""
        return sorted({str(form) for arrays in self.arrays for form in arrays["form"]} - {""})

    def found(self, moment: str, *, taught: bool, view: str = "anew", form: str | None = None) -> DoubleArray:
        """float64 (f,): of each distinct fact the share of the times asked for at which its answer is ranked first.

        A fact that is never taught is asked for when another is. With `form`, of questions of that form alone.
        """
        mine = self._mine(taught, form)
        return means_by_key(self._first(moment, view)[mine], self._facts[mine])

    def questions(self, *, taught: bool, form: str | None = None) -> int:
        """How many distinct questions ask for them."""
        keys = np.concatenate([arrays["key"] for arrays in self.arrays])
        return int(np.unique(keys[self._mine(taught, form)]).size)

    def estimate(self, moment: str, *, taught: bool, view: str = "anew", form: str | None = None) -> Estimate:
        """The share that is ranked first, over distinct facts."""
        asked = (moment, taught, view, form)
        if asked not in self._estimates:
            found = self.found(moment, taught=taught, view=view, form=form)
            self._estimates[asked] = share(found, np.arange(found.size))
        return self._estimates[asked]

    def change(self, moment: str, since: str, *, taught: bool, view: str = "anew", form: str | None = None) -> Paired:
        """One moment against another, over distinct facts."""
        asked = (moment, since, taught, view, form)
        if asked not in self._changes:
            at = [self.found(when, taught=taught, view=view, form=form) for when in (since, moment)]
            self._changes[asked] = paired(at[0], at[1])
        return self._changes[asked]

    def own(self, moment: str, view: str = "anew", form: str | None = None) -> Estimate:
        """What its own update has done for a fact: the change since just before it, taught less never taught.

        What the stream does to facts of its kind is in both, and falls out.
        """
        asked = ("own", moment, view, form)
        if asked not in self._estimates:
            mine = self._mine(True, form) | self._mine(False, form)
            moved = self._first(moment, view) - self._first("before", view)
            self._estimates[asked] = contrast(moved[mine], self._facts[mine], self._mine(True, None)[mine])
        return self._estimates[asked]

    def changed(self, moment: str, view: str = "anew", form: str | None = None) -> tuple[int, int]:
        """Of how many of the taught facts any question changed since just before the update, and how many there are.

        Whether it came first or no longer did: two that fall out of a mean are two changes.
        """
        mine = self._mine(True, form)
        moved = self._first(moment, view)[mine] != self._first("before", view)[mine]
        by_fact = means_by_key(moved.astype(np.float64), self._facts[mine])
        return int((by_fact > 0).sum()), int(by_fact.size)

    def own_of_seeds(self, moment: str, view: str = "anew") -> DoubleArray:
        """float64 (seeds,): the same of each seed."""
        out = []
        for one, arrays in enumerate(self.arrays):
            single = Acquired(self.set, self.steps, self.pieces[one : one + 1], (arrays,), self.further)
            out.append(
                single.change(moment, "before", taught=True, view=view).difference
                - single.change(moment, "before", taught=False, view=view).difference
            )
        return np.array(out)

    @property
    def timed(self) -> list[int]:
        """Which pieces' times count, by their places."""
        return counting(self.pieces, mostly_on(self.pieces))

    @property
    def update_seconds(self) -> DoubleArray:
        """float64 (updates,): of all seeds whose times count."""
        return np.concatenate([self.arrays[place]["update_ns"] for place in self.timed]) * 1e-9

    @cached_property
    def _facts(self) -> AnyArray:
        """int32 (w,): of each question of all seeds, one after the other, its fact, numbered over all seeds.

        Two seeds number facts each in its own way: facts of one group are one.
        """
        _, facts = np.unique(np.concatenate([arrays["group"] for arrays in self.arrays]), return_inverse=True)
        return np.asarray(facts.ravel())

    def _mine(self, taught: bool, form: str | None) -> AnyArray:
        """Which questions of all seeds are of facts that are taught, or are not: bool (w,)."""
        side = np.concatenate([(arrays["fact"] < arrays["taught"].size) == taught for arrays in self.arrays])
        if form is None:
            return np.asarray(side)
        return np.asarray(side & (np.concatenate([arrays["form"] for arrays in self.arrays]) == form))

    def _first(self, moment: str, view: str) -> DoubleArray:
        """float64 (w,): 1 where a question's best answer is ranked first."""
        out = []
        for arrays in self.arrays:
            when = _when(arrays, moment)[arrays["fact"] % arrays["taught"].size]
            stage = np.searchsorted(arrays["done"], when)
            out.append(arrays[view][stage, np.arange(stage.size)] == 1)
        return np.concatenate(out).astype(np.float64)


def _when(arrays: dict[str, AnyArray], moment: str) -> AnyArray:
    """Of each taught fact, how many updates are done by then."""
    if moment == "untouched":
        return np.zeros_like(arrays["taught"])
    if moment == "before":
        return arrays["taught"]
    return np.asarray(arrays["taught"] + 1 + int(moment))
