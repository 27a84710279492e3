"""A text as the words that lexical search compares: lower-cased, and stemmed in English and in Russian."""

from __future__ import annotations

import re
import threading
import unicodedata

import Stemmer

_WORD = re.compile(r"[^\W_]+")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_LATIN = re.compile(r"[a-z]")
_local = threading.local()


def stems(text: str) -> list[str]:
    """The stems of a text's words, in order; words of other scripts as they are.

    Snowball's stemmers (Porter 2001, "Snowball: a language for stemming algorithms"), by the script of each word; `ё`
    counts as `е`, as Russians write it.
    """
    english, russian = _stemmers()
    found = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("ё", "е")):
        if _CYRILLIC.search(word):
            found.append(russian.stemWord(word))
        elif _LATIN.search(word):
            found.append(english.stemWord(word))
        else:
            found.append(word)
    return found


def _stemmers() -> tuple[Stemmer.Stemmer, Stemmer.Stemmer]:
    """One pair a thread: they may not be shared."""
    if not hasattr(_local, "pair"):
        _local.pair = Stemmer.Stemmer("english"), Stemmer.Stemmer("russian")
    pair: tuple[Stemmer.Stemmer, Stemmer.Stemmer] = _local.pair
    return pair
