"""Docstrings, as numpy's guide shapes them, taken apart into a summary and a body of plain prose."""

from __future__ import annotations

import inspect
import re
from itertools import pairwise
from typing import NamedTuple

from adamem.data.plain_text import is_rule, plain, speaking_lines


class Prose(NamedTuple):
    """What a docstring says, each on one line; either may be empty."""

    summary: str
    """Its first sentence."""
    body: str
    """What follows: first the description and the notes, then the parameters and what is returned."""


# Lists of names, sources and code: nothing in them answers a question asked in words.
_DROPPED = frozenset(
    {"see also", "references", "reference", "examples", "example", "methods", "attributes", "citations"}
)
_TAKEN = frozenset({"parameters", "other parameters"})
_ITEMISED = _TAKEN | frozenset({"returns", "return", "yields", "receives", "raises", "warns"})
# Every ufunc, and half of numpy's other functions, take these and explain them in the same words.
_STOCK_PARAMETERS = frozenset({"out", "where", "**kwargs"})
_STOCK_NOTES = "**Array API Standard Support**"

_SIGNATURE = re.compile(r"(?:[\w, \[\]()]+ = )?[\w.]+\s*\(.*\)(?:\s*->.*|\s*--)?", re.DOTALL)
# The full stop of "e.g. Newton", "i.e. Newton", "vs. Newton" or "I. Newton" ends no sentence.
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\bcf)(?<!\bet al)(?<!\b[A-Z])[.!?](?=\s+[A-Z(\[])")


def prose(docstring: str) -> Prose:
    """The summary and the body of `docstring`."""
    opening, *sections = _sections(inspect.cleandoc(docstring).splitlines())
    paragraphs = [part for part in re.split(r"\n\s*\n", "\n".join(speaking_lines(opening[1]))) if part.strip()]
    while paragraphs and _SIGNATURE.fullmatch(paragraphs[0].strip()):
        del paragraphs[0]
    if not paragraphs:
        return Prose("", "")
    first = plain(paragraphs[0])
    end = _SENTENCE_END.search(first)
    summary, rest = (first[: end.end()], first[end.end() :]) if end else (first, "")
    described = [rest, plain("\n".join(paragraphs[1:]))]
    itemised = []
    for title, lines in sections:
        if title in _ITEMISED:
            itemised.append(plain("\n".join(speaking_lines(_items(title, lines)))))
        elif title not in _DROPPED:
            described.append(plain("\n".join(speaking_lines(_before_stock_notes(lines)))))
    return Prose(summary.strip(), " ".join(" ".join(described + itemised).split()))


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """(title in lower case, lines) of each section; the first is what stands before any heading, titled ""."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    place = 0
    while place < len(lines):
        over = is_rule(lines[place]) and place + 2 < len(lines)
        title, under = (place + 1, place + 2) if over else (place, place + 1)
        if under < len(lines) and lines[title].strip() and not is_rule(lines[title]) and is_rule(lines[under]):
            if any(line.strip() for line in sections[0][1]):
                sections.append((lines[title].strip().rstrip(":").lower(), []))
            else:  # a module's docstring opens with a heading, and that is its summary
                sections[0][1].extend([lines[title], ""])
            place = under + 1
        else:
            if not is_rule(lines[place]):
                sections[-1][1].append(lines[place])
            place += 1
    return sections


def _items(title: str, lines: list[str]) -> list[str]:
    """The items of a section without their types: ``x : array_like`` becomes ``x:``, or nothing if no more is said."""
    kept: list[str] = []
    stock = False
    for line, following in pairwise([*lines, ""]):
        if not line.strip() or line[0].isspace() or line.startswith(".. "):
            if not stock:
                kept.append(line)
            continue
        name = line.partition(" :")[0].strip().rstrip(":")
        stock = title in _TAKEN and name in _STOCK_PARAMETERS
        if not stock and following[:1].isspace():
            kept.append(f"{name}:")
    return kept


def _before_stock_notes(lines: list[str]) -> list[str]:
    """In scipy, the notes of hundreds of functions end in one table of array libraries."""
    stripped = [line.strip() for line in lines]
    return lines[: stripped.index(_STOCK_NOTES)] if _STOCK_NOTES in stripped else lines
