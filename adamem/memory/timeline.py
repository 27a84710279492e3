"""Supersession: of the memories of one topic, which holds when.

A topic is a slot (``home.city``), a question in its normal form, or whatever a memory said that was superseded by its
id. Each of its memories holds from its own `valid_from` until that of the next one; of two with the same, the one that
arrived later holds. What arrives late and is older than what is known becomes history at once; what is deleted takes no
part. Nothing is ever guessed from what sentences look like: "Loves hiking" and "Hates hiking" are near to each other
and say the opposite.
"""

from __future__ import annotations

import bisect
import re
import unicodedata
from dataclasses import dataclass


@dataclass(slots=True)
class Stretch:
    """When one memory of a topic holds: from `start` up to `end`, which is not part of it; None is for ever."""

    start: int
    id: int
    end: int | None


class Timeline:
    """The stretches of one topic.

    Parameters
    ----------
    known
        Those in the file, in any order.
    """

    def __init__(self, known: list[Stretch]) -> None:
        self._stretches = sorted(known, key=_place)

    def insert(self, fresh: Stretch) -> Stretch | None:
        """Put one in, whose `end` is set; the one that it cuts short, which then ends where it starts, or None.

        What is there is only ever cut, never made longer: where a memory was purged, the gap stays.
        """
        at = bisect.bisect_left(self._stretches, _place(fresh), key=_place)
        fresh.end = self._stretches[at].start if at < len(self._stretches) else None
        before = self._stretches[at - 1] if at else None
        self._stretches.insert(at, fresh)
        if before is None or (before.end is not None and before.end <= fresh.start):
            return None
        before.end = fresh.start
        return before


def slot_topic(slot: str) -> str:
    """The topic of a slot: exactly as it is written."""
    return f"slot:{slot}"


def memory_topic(number: int) -> str:
    """The topic of a memory that had none until another one was to supersede it."""
    return f"memory:{number}"


def question_topic(question: str) -> str:
    """The topic of a question: case, spacing, quotes and what ends a word or the sentence make no difference.

    What might make one does: 10⁵ is not 105, != is not =, .NET is no net, [0,1) is not (0,1], 5' and 5" are lengths and
    5! is a number. So quotes are taken off in pairs only, and ! only where the text ends with it, after a word.
    """
    text = " ".join(unicodedata.normalize("NFC", question).casefold().split())
    bare = None
    while bare != text:  # quotes may be within quotes
        bare = text
        for quoted in _QUOTED:
            text = quoted.sub(lambda found: found["several"] or found["one"], text)
    *words, last = text.split(" ")
    return f"question:{' '.join([*(_bare(word) for word in words), _bare(last, is_last=True)])}"


def _quoted(opening: str, closing: str) -> re.Pattern[str]:
    """One word in quotes, or several; of these the last is no number, whose quote might be a prime."""
    within = rf"(?:[^{opening}{closing}]|(?<=\w){closing}(?=\w))"
    several = rf"(?P<several>(?!\s){within}+?)(?<![\s\d]){closing}"
    one = rf"(?P<one>[^\s{opening}{closing}]+){closing}"
    return re.compile(rf"(?<!\S){opening}(?:{several}|{one})(?=[{_ENDS}!]*(?!\S))")


_ENDS = ".,;:?…"
_QUOTED = [_quoted(*pair) for pair in ("«»", "“”", "„“", "„”", "‘’", '""', "''")]


def _bare(word: str, *, is_last: bool = False) -> str:
    bare = word.lstrip("¿¡")
    end = len(bare)
    while end:
        if bare[end - 1] in _ENDS:
            end -= 1
            continue
        said = end
        while said and bare[said - 1] == "!":
            said -= 1
        if said == end or not (bare[said - 1 : said] == "?" or (is_last and _is_word(bare[max(0, said - 2) : said]))):
            break
        end = said
    return bare[:end] or word


def _is_word(end: str) -> bool:
    """Of two letters at least: one may be a number's name."""
    return len(end) == 2 and end.isalpha()


def _place(stretch: Stretch) -> tuple[int, int]:
    return stretch.start, stretch.id
