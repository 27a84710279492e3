"""Opening the files of a vector data set by its card."""

from __future__ import annotations

from pathlib import Path

from adamem.data.cards import Card
from adamem.data.formats.idx import open_idx
from adamem.data.formats.npy import open_npy
from adamem.data.formats.source import VectorParts

_OPEN = {"idx": open_idx, "npy": open_npy}


def open_card(card: Card, folder: Path) -> VectorParts:
    """What a vector set's files hold, by their roles on the card."""
    opened = {item.role: _OPEN[card.format](folder / item.path) for item in card.files if item.role in ("base", "queries", "learn")}
    return VectorParts(**opened, metric=card.metric, files=tuple(folder / item.path for item in card.files if item.role != "extra"))
