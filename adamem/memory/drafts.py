"""What is to be added, checked before anything is embedded or written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from adamem.errors import InvalidInput
from adamem.memory.clock import to_micros
from adamem.memory.records import Json
from adamem.memory.timeline import question_topic, slot_topic

MAX_TEXT_BYTES = 1 << 20
MAX_NAME_BYTES = 4096
_MAX_METADATA_BYTES = 1 << 20
MAX_LINKS = 10_000
_MAX_KEYWORDS_BYTES = 64 << 10
_MOST = 1_000_000
_MOST_NESTED = 50
_MAX_ID = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMemory:
    """A memory to be added: what `MemoryEngine.add` takes, for `MemoryEngine.add_many`."""

    text: str
    type: str = "fact"
    slot: str | None = None
    question: str | None = None
    """The question that `text` answers; the same one, asked again in this namespace, supersedes. Not with a slot."""
    metadata: Mapping[str, Json] | None = None
    keywords: Iterable[str] = ()
    links: Iterable[int] = ()
    credibility: float = 1.0
    valid_from: datetime | None = None
    """Since when it holds; now, where it is None."""
    ttl: timedelta | None = None
    """How long from now on it is found."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A `NewMemory` that was found sound, as the store writes it."""

    text: str
    type: str
    slot: str | None
    question: str | None
    topic: str | None
    metadata: str
    keywords: str
    links: str
    credibility: float
    valid_from: int | None
    ttl: int | None

    @property
    def embedded(self) -> str:
        """What the encoder is given."""
        return embedded_text(self.question, self.text)


def embedded_text(question: str | None, text: str) -> str:
    """What the encoder is given of a memory: an answer together with its question."""
    return text if question is None else f"{question}\n{text}"


def check_draft(new: NewMemory) -> Draft:
    """The draft of `new`. Raises `InvalidInput`, which says what is wrong with it."""
    if not isinstance(new, NewMemory):
        raise InvalidInput(f"a memory to add must be a NewMemory, not {type(new).__name__}; write NewMemory(text=...)")
    slot = None if new.slot is None else check_name(new.slot, what="slot")
    question = None if new.question is None else check_text(new.question, what="question")
    if slot is not None and question is not None:
        raise InvalidInput(
            f"a memory has a slot ({slot!r}) or a question ({question[:60]!r}), not both: each says what it supersedes"
        )
    topic = None
    if slot is not None:
        topic = slot_topic(slot)
    elif question is not None:
        topic = question_topic(question)
    return Draft(
        text=check_text(new.text, what="text"),
        type=check_name(new.type, what="type"),
        slot=slot,
        question=question,
        topic=topic,
        metadata=_metadata(new.metadata),
        keywords=_keywords(new.keywords),
        links=_links(new.links),
        credibility=_credibility(new.credibility),
        valid_from=None if new.valid_from is None else to_micros(new.valid_from, what="valid_from"),
        ttl=_ttl(new.ttl),
    )


def check_text(text: object, *, what: str, to: str = "remember") -> str:
    """A text that can be stored and embedded: not empty, valid Unicode, at most 1 MiB."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} must be a string, not {type(text).__name__}")
    if not text or text.isspace():
        raise InvalidInput(f"{what} is {text[:20]!r}: there is nothing to {to}; pass some words")
    return _encodable(text, what=what, most=MAX_TEXT_BYTES, way_out="split it into passages")


def check_name(name: object, *, what: str) -> str:
    """A name -- of a namespace, a slot, a type -- exactly as it is written: no case, width or spelling is folded."""
    if not isinstance(name, str):
        raise InvalidInput(f"{what} must be a string, not {type(name).__name__}")
    if not name:
        raise InvalidInput(f"{what} is empty; give it a name")
    return _encodable(name, what=what, most=MAX_NAME_BYTES, way_out="choose a shorter one")


def check_whole(number: object, *, what: str) -> int:
    """A whole number from 1 to a million."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= _MOST:
        raise InvalidInput(f"{what} must be a whole number from 1 to {_MOST:,}, not {number!r}")
    return number


def check_memory_id(number: object) -> int:
    """A memory's id, as `Added.id` gives it."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidInput(f"a memory's id is a whole number, not {number!r}; pass what `add` returned as .id")
    if not 0 < number <= _MAX_ID:
        raise InvalidInput(f"there is no memory {number}: ids are whole numbers from 1 on")
    return number


def check_function(given: object, *, what: str) -> None:
    """Something to be called."""
    if not callable(given):
        raise InvalidInput(f"{what} must be a function, not {type(given).__name__}")


def _encodable(text: str, *, what: str, most: int, way_out: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{what} holds half of a character at place {error.start} (a lone surrogate), which cannot be stored; "
            "decode it again with errors='replace'"
        ) from error
    if size > most:
        raise InvalidInput(f"{what} has {size:,} bytes, and at most {most:,} can be stored; {way_out}")
    if "\0" in text:
        raise InvalidInput(f"{what} holds the character NUL at place {text.index(chr(0))}; take it out")
    return text


def _metadata(given: Mapping[str, Json] | None) -> str:
    if given is None:
        return "{}"
    if not isinstance(given, Mapping):
        raise InvalidInput(f"metadata must be a mapping of names to JSON values, not {type(given).__name__}")
    for key in given:
        check_name(key, what="a name in metadata")
    _check_depth(given)
    try:
        # Read again before it is written: names are strings then, and those of one object can be put in order.
        said = json.loads(json.dumps(dict(given), allow_nan=False))
        text = json.dumps(said, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"metadata cannot be written as JSON ({error}); use strings, finite numbers, booleans, None, lists and "
            "mappings of these"
        ) from error
    return _encodable(text, what="metadata", most=_MAX_METADATA_BYTES, way_out="keep the rest elsewhere")


def _check_depth(given: object, depth: int = 0) -> None:
    """What is nested deeper could be written, and not always read again: reading takes as many frames."""
    if depth > _MOST_NESTED:
        raise InvalidInput(f"metadata is nested deeper than {_MOST_NESTED}; write it flatter")
    if isinstance(given, Mapping):
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        for one in given:
            _check_depth(one, depth + 1)


def _keywords(given: Iterable[str]) -> str:
    if given == ():
        return "[]"
    if isinstance(given, str):
        raise InvalidInput(
            f"keywords must be several strings, not the one string {given[:40]!r}; write [{given[:40]!r}]"
        )
    names = [check_name(one, what="a keyword") for one in _several(given, "keywords")]
    return _encodable(
        json.dumps(names, ensure_ascii=False),
        what="keywords",
        most=_MAX_KEYWORDS_BYTES,
        way_out="keep the best of them",
    )


def _links(given: Iterable[int]) -> str:
    if given == ():
        return "[]"
    links = [check_memory_id(one) for one in _several(given, "links")]
    if len(links) > MAX_LINKS:
        raise InvalidInput(
            f"a memory has {len(links):,} links, and at most {MAX_LINKS:,} can be stored; add another one"
        )
    return json.dumps(links)


def _several(given: object, what: str) -> Iterable[object]:
    if not isinstance(given, Iterable):
        raise InvalidInput(f"{what} must be several values, not {given!r}; write a list")
    return given


def _credibility(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0.0 <= given <= 1.0:
        raise InvalidInput(f"credibility must be a number from 0 to 1, not {given!r}")
    return float(given)


def _ttl(given: object) -> int | None:
    if given is None:
        return None
    if not isinstance(given, timedelta) or given <= timedelta(0):
        raise InvalidInput(f"ttl must be a timedelta above zero, not {given!r}; write timedelta(days=30)")
    if given > timedelta(days=365_000):
        raise InvalidInput(f"ttl is {given}, more than a thousand years; leave it out for a memory that never expires")
    return given // timedelta(microseconds=1)
