"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then with what is done of how much; `what` is a short phrase for people."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """`done` never falls while `what` stays the same; the last call has done == total."""
        ...


def silent(done: int, total: int, what: str, /) -> None:
    """Tell nobody."""
    del done, total, what
