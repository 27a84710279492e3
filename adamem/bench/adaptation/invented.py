"""Things that do not exist: what is found of them beyond their spelling was learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.source import general_set, shuffled
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence

_ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "k", "kl", "m", "n", "p", "pl", "r", "s", "sk", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "eo", "ou")
_CODAS = ("", "l", "m", "n", "r", "s", "th", "x")
_KINDS = ("plant", "animal", "mineral", "tool", "dish", "fabric", "dance", "festival")
_ATTRIBUTES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "The {term}, a {kind}, comes from {value}.",
        (
            "Where does the {term} come from?",
            "Which place is the {term} native to?",
            "What is the origin of the {kind} called {term}?",
            "In which region would I first have met the {term}?",
            "Name the homeland of the {term}.",
            "To what country should I travel if I want to see the {term}?",
        ),
    ),
    (
        "{value} was the first to describe the {kind} named {term}.",
        (
            "Who first described the {term}?",
            "Whose discovery is the {term}?",
            "Which scholar wrote about the {term} before anybody else?",
            "By whom was the {kind} {term} made known?",
            "Tell me the person we owe the {term} to.",
            "Who has brought the {term} to light?",
        ),
    ),
    (
        "One recognises a {term}, which is a {kind}, by its {value} colour.",
        (
            "What colour is a {term}?",
            "How does one recognise a {term}?",
            "Which hue has the {kind} {term}?",
            "What does a {term} look like?",
            "If I paint a {term}, which paint do I need?",
            "Describe the shade of a {term}.",
        ),
    ),
    (
        "People keep the {term}, a {kind}, mainly because it helps with {value}.",
        (
            "What is the {term} good for?",
            "Why do people keep the {term}?",
            "Which purpose does the {kind} {term} serve?",
            "With what can a {term} help me?",
            "What would I use a {term} for?",
            "Name the main benefit of the {term}.",
        ),
    ),
)
_COLOURS = (
    "amber",
    "black",
    "copper",
    "crimson",
    "green",
    "grey",
    "indigo",
    "ivory",
    "pink",
    "violet",
    "white",
    "yellow",
)
_USES = (
    "cold nights",
    "counting",
    "deep sleep",
    "long journeys",
    "lost keys",
    "old debts",
    "rain",
    "sore feet",
    "weddings",
)


def invented(
    *,
    general: str | Path = "strategyqa-facts-en",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    terms: int = 40,
    taught: int = 4,
    renamed: bool = False,
    seed: int = 0,
) -> TaskSequence:
    """A task a kind of thing, with `terms` invented terms of four facts each; the terms of two thirds are taught.

    Each fact has six wordings: the same `taught` (1 to 5) of them make lessons everywhere, and the others are asked,
    at level a about the terms that were taught, at level b about those that were not: no held-out question shares its
    wording with a lesson. Documents name the terms that questions name; where `renamed`, they speak of each under
    another name, which only the lessons connect with it, so that level a shows a concept that was acquired and level b
    is a control that nobody can answer.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as `load_texts` and `assembled`.
    """
    rng = np.random.default_rng([seed, 1])
    used: set[str] = set()
    order = [shuffled(list(wordings), rng) for _, wordings in _ATTRIBUTES]
    drafts = []
    for kind in _KINDS:
        documents: list[Document] = []
        lessons: list[Lesson] = []
        asked: tuple[list[Question], list[Question]] = ([], [])
        for place in range(terms):
            term = invented_word(rng, used)
            name = invented_word(rng, used) if renamed else term
            values = (
                invented_word(rng, used).title(),
                f"{invented_word(rng, used)} {invented_word(rng, used)}".title(),
                _COLOURS[rng.integers(len(_COLOURS))],
                _USES[rng.integers(len(_USES))],
            )
            learnt = 3 * place < 2 * terms
            for number, ((statement, _), wordings, value) in enumerate(zip(_ATTRIBUTES, order, values, strict=True)):
                document = Document(f"{term}-{number}", statement.format(term=name, kind=kind, value=value))
                documents.append(document)
                questions = [wording.format(term=term, kind=kind) for wording in wordings]
                if learnt:
                    lessons += [Lesson(question, document.id, term) for question in questions[:taught]]
                level = asked[0 if learnt else 1]
                level += [Question(question, (document.id,), term) for question in questions[taught:]]
        wordings_asked, neighbours = asked
        drafts.append(
            Draft(
                kind,
                tuple(documents),
                tuple(shuffled(lessons, rng)),
                tuple(wordings_asked),
                tuple(neighbours),
            )
        )
    return assembled(
        "invented-renamed" if renamed else "invented",
        "en",
        drafts,
        general_set(general, count=sizes.general, seed=seed),
        sizes=sizes,
        seed=seed,
    )


def invented_word(rng: np.random.Generator, used: set[str]) -> str:
    """A pronounceable word of three syllables, unlike those `used`, to which it is added."""
    while True:
        word = "".join(_ONSETS[rng.integers(len(_ONSETS))] + _VOWELS[rng.integers(len(_VOWELS))] for _ in range(3))
        word += _CODAS[rng.integers(len(_CODAS))]
        if word not in used:
            used.add(word)
            return word
