"""Hits as the text that a language model is given, no longer than it may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from adamem.memory.drafts import embedded_text
from adamem.memory.records import Context, Hit

TokenCounter = Callable[[str], int]
_PIECE = re.compile(r"[^\W_]+|[^\w\s]|_")


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few.

    One for each sign, one for each four letters of a word or what is left of four, and one for each letter outside of
    ASCII, each digit, and each letter of a word that has digits, such as a code. For the true number give the tokenizer
    of the model in question.
    """
    count = 0
    for piece in _PIECE.findall(text):
        count += -(-len(piece) // 4) if piece.isascii() and piece.isalpha() else len(piece)
    return count


def written(hits: Sequence[Hit], *, most: int, count: TokenCounter) -> Context:
    """As many hits as have room, best first; one that has none is left out whole, and the next is tried."""
    paragraphs: list[str] = []
    taken: list[Hit] = []
    text = ""
    for hit in hits:
        memory = hit.memory
        said = embedded_text(memory.question, memory.text)
        longer = "\n\n".join([*paragraphs, f"[{memory.id}] {said}"])
        if count(longer) <= most:
            text = longer
            paragraphs.append(f"[{memory.id}] {said}")
            taken.append(hit)
    return Context(text=text, hits=tuple(taken), tokens=count(text))
