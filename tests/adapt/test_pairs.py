"""Pairs, and which of them may be held against each other."""

from __future__ import annotations

import subprocess
import sys

import pytest

import adamem.adapt
from adamem.adapt import Pair
from adamem.adapt.pairs import agreeing, require_contrast
from adamem.errors import InvalidInput


def test_the_door_is_exact():
    """The public names are these and no others."""
    assert adamem.adapt.__all__ == [
        *("Adapter", "BridgedAdapter", "Exam", "Learnt", "LoRAAdapter", "LoRALearner"),
        *("Pair", "ProcessEnded", "ProcessFailed", "QueryAdapter", "Workshop"),
    ]


def test_importing_the_door_loads_no_heavy_library():
    """Neither torch nor sentence-transformers nor peft come with the import."""
    heavy = {"torch", "sentence_transformers", "transformers", "peft", "sklearn"}
    code = f"import adamem.adapt, sys; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(("query", "document", "side"), [("", "x", "query"), ("x", " \n", "document")])
def test_a_blank_text_is_refused(query: str, document: str, side: str):
    """The message says which side."""
    with pytest.raises(InvalidInput, match=f"the {side} of a pair is .*expected a text; leave this pair out"):
        Pair(query, document)


def test_a_pair_is_not_held_against_nothing_or_its_own_document():
    """Either would be learnt all the same, and mean something else."""
    with pytest.raises(InvalidInput, match="the document of a pair is ' ', expected a text"):
        Pair("a", "x", against=("y", " "))
    with pytest.raises(InvalidInput, match="'x' is said to answer 'a' and not to"):
        Pair("a", "x", against=("x",))
    # That another query is answered by it is no reason to keep the two apart.
    require_contrast([Pair("a", "x", against=("y",)), Pair("b", "y")])


def test_pairs_with_one_text_or_one_group_agree_and_others_do_not():
    """A text counts on either side; a group that reads like a text is not that text."""
    pairs = [Pair("a", "x", group="g"), Pair("b", "y", group="g"), Pair("a", "z"), Pair("y", "w"), Pair("g", "v")]
    agree = agreeing(pairs)
    together = {(row, other) for row in range(5) for other in range(row) if agree[row, other]}
    assert together == {(1, 0), (2, 0), (3, 1)}
    assert (agree == agree.T).all()


@pytest.mark.parametrize(
    "pairs", [[], [Pair("a", "x")], [Pair("a", "x"), Pair("a", "y")], [Pair(c, c.upper(), group="g") for c in "abc"]]
)
def test_pairs_of_which_no_two_contrast_are_refused(pairs: list[Pair]):
    """There is nothing to tell them from."""
    with pytest.raises(InvalidInput, match=f"{len(pairs)} pairs of which no two .*replay former ones"):
        require_contrast(pairs)


def test_a_contrast_that_the_first_pair_has_no_part_in_is_found():
    """The first shares something with each of the others, which share nothing."""
    require_contrast([Pair("a", "x"), Pair("a", "y"), Pair("b", "x")])
