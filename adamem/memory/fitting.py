"""Encoders that are fitted to the memories themselves: how they are made, and kept in the file.

What is fitted knows words of the texts that it was fitted to. So it learns only words that two of them have, and what
is purged takes those of its words with it that no other memory has.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.dialects.sqlite import insert

from adamem.errors import CorruptResult, InvalidInput
from adamem.memory.drafts import embedded_text
from adamem.memory.schema import fitted
from adamem.memory.sqlite import driver

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from adamem.encoders.lsa import LsaEncoder

FEWEST = 20
"""So many texts an encoder is fitted to at least. Fewer give one that knows next to nothing, and that would stay."""
_MOST_DIM = 1_024
_MOST_TERMS = 20_000
"""With them, what is kept has at most 160 MiB, and 40 with the usual 256 dimensions."""


def fit(texts: Iterable[str], dim: int) -> LsaEncoder:
    """An encoder fitted to texts, which are read once. Equal texts in equal order give an equal one.

    Raises `InvalidInput` if they are too few, share no word, or if `dim` is above 1,024.
    """
    from adamem.encoders.lsa import LsaEncoder  # noqa: PLC0415 -- scikit-learn, and only now needed

    if dim > _MOST_DIM:
        raise InvalidInput(
            f"lsa:{dim} has more dimensions than the {_MOST_DIM:,} that a memory file takes; write 'lsa'"
        )
    rest = iter(texts)
    first = list(itertools.islice(rest, FEWEST))
    if len(first) < FEWEST:
        raise too_few(len(first))
    try:
        return LsaEncoder(itertools.chain(first, rest), dim=dim, min_texts=2, max_terms=_MOST_TERMS)
    except InvalidInput as error:
        raise InvalidInput(
            "lsa learns words that two texts have, and these have none in common; "
            "add more of them, or use encoder='hashing' until then and reembed('lsa') later"
        ) from error


def too_few(count: int) -> InvalidInput:
    """What is said of so few texts."""
    return InvalidInput(
        f"lsa is fitted to the memories themselves and needs at least {FEWEST} of them, not {count}; add them at once "
        "with add_many, or use encoder='hashing' until there are enough and reembed('lsa') then"
    )


def keep(connection: Connection, row: int, encoder: LsaEncoder) -> None:
    """Keep an encoder that was fitted here, beside its row: a name alone does not bring it back."""
    model = encoder.to_bytes()
    values = insert(fitted).values(encoder=row, model=model)
    connection.execute(values.on_conflict_do_update(index_elements=[fitted.c.encoder], set_={"model": model}))


def drop_others(connection: Connection, row: int) -> None:
    """Keep this encoder only."""
    connection.execute(delete(fitted).where(fitted.c.encoder != row))


def open_kept(model: bytes, *, file: str) -> LsaEncoder:
    """The encoder that `keep` has kept. Raises `CorruptResult` if it is not whole."""
    from adamem.encoders.lsa import LsaEncoder  # noqa: PLC0415 -- scikit-learn, and only now needed

    try:
        return LsaEncoder.from_bytes(model)
    except CorruptResult as error:
        raise CorruptResult(
            f"the lsa that is kept in {file} is not what was written; embed all anew: reembed('lsa')"
        ) from error


def forget_words(connection: sqlite3.Connection) -> bool:
    """Take the words that no memory of a database has, in whatever state, out of its fitted encoders.

    Returns whether there were any. Vectors stay as they are: see `LsaEncoder.without`. All texts are read, unless there
    is nothing fitted. One that is damaged is taken out: it is of no use, and may have the words. To be called in a
    transaction that writes.
    """
    kept = [number for (number,) in connection.execute("SELECT encoder FROM fitted").fetchall()]
    if not kept:
        return False
    from adamem.encoders.lsa import LsaEncoder, words  # noqa: PLC0415 -- scikit-learn, and only now needed

    found = False
    for number in kept:
        (model,) = connection.execute("SELECT model FROM fitted WHERE encoder = ?", (number,)).fetchone()
        try:
            encoder = LsaEncoder.from_bytes(model)
        except CorruptResult:
            found = True
            connection.execute("DELETE FROM fitted WHERE encoder = ?", (number,))
            continue
        unsaid = set(encoder.terms)
        for question, text in connection.execute("SELECT question, text FROM memories"):
            unsaid -= words(embedded_text(question, text))
            if not unsaid:
                break
        if unsaid:
            found = True
            # Not an UPDATE: what is deleted is written over.
            connection.execute("DELETE FROM fitted WHERE encoder = ?", (number,))
            connection.execute("INSERT INTO fitted VALUES (?, ?)", (number, encoder.without(unsaid).to_bytes()))
    return found


def forget_words_of(connection: Connection) -> bool:
    """As `forget_words`, of the file that a transaction writes."""
    return forget_words(driver(connection.connection))
