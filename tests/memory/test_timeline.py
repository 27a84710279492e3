"""Supersession: what holds when, whatever the order in which it arrives."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamem.memory.timeline import Stretch, Timeline, question_topic, slot_topic


@given(st.lists(st.integers(0, 8), max_size=12), st.integers(0, 12))
def test_at_every_moment_the_latest_of_those_begun_holds(starts: list[int], known: int):
    """Of equal starts the one that arrived last; nothing else holds at that moment, and nothing before the first."""
    arrived = [Stretch(start, number, None) for number, start in enumerate(starts)]
    first = Timeline([])
    for one in arrived[:known]:
        first.insert(one)
    second = Timeline(arrived[:known][::-1])  # as it comes back from a file, in whatever order
    for one in arrived[known:]:
        second.insert(one)
    for moment in range(10):
        holding = [one.id for one in arrived if one.start <= moment and (one.end is None or one.end > moment)]
        begun = [(one.start, one.id) for one in arrived if one.start <= moment]
        assert holding == ([max(begun)[1]] if begun else [])


def test_what_is_cut_short_is_told():
    """The one that held until now; nobody, where a late arrival fills the time before all others."""
    timeline = Timeline([])
    old, new, late = Stretch(10, 1, None), Stretch(20, 2, None), Stretch(5, 3, None)
    assert timeline.insert(old) is None
    assert timeline.insert(new) is old
    assert timeline.insert(late) is None
    assert (late.end, old.end, new.end) == (10, 20, None)


def test_a_gap_that_a_purge_left_stays_a_gap():
    """What was cut once is never made longer."""
    timeline = Timeline([Stretch(1, 1, 4), Stretch(9, 3, None)])
    fresh = Stretch(6, 4, None)
    assert timeline.insert(fresh) is None
    assert fresh.end == 9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset the router?", "how do i reset  the ROUTER"),
        ("«Где живёт Анна?»", "где живёт анна"),
        ("Cafe\u0301?", "caf\u00e9"),
        ("???", "???"),
        ('What does "spam" mean?', "what does spam mean"),
        ("What does \u201cspam and eggs\u201d mean?", "What does 'spam and eggs' mean"),
        ("\u201eWo wohnt Anna?\u201c", "Wo wohnt Anna"),
        ("\u00bfD\u00f3nde vive Ana?", "d\u00f3nde vive ana"),
        ("Loves hiking!", "loves hiking."),
        ("Really?!", "really"),
        ("Well, where; when: now\u2026", "well where when now"),
        ("Who said \"What is 'x'?\"?", "who said what is x"),
    ],
)
def test_questions_that_differ_in_form_only_are_one(one: str, other: str):
    """Case, composition, spacing, and the punctuation around words."""
    assert question_topic(one) == question_topic(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Lives in SF", "Lives in Dallas"),
        ("Loves hiking", "Hates hiking"),
        ("Prefers Python over Java", "Prefers Java over Python"),
        ("C#", "C"),
        ("C++", "C"),
        ("5-3", "5+3"),
        ("What is 10⁵?", "What is 105?"),
        ("what does != mean", "what does = mean"),
        ("What does ! mean?", "What does : mean?"),
        (".NET", "net"),
        ("???", "!"),
        ("The interval is [0,1)", "The interval is (0,1]"),
        ("Is 1 in [0,1]?", "Is 1 in (0,1)?"),
        ("What does [x] mean?", "What does x mean?"),
        ("Height 5'", 'Height 5"'),
        ("Height 5'", "Height 5"),
        ("Height 5\u2019", "Height 5\u201d"),
        ("What is f'?", "What is f?"),
        ("Is it 5' or 6'?", "Is it 5 or 6?"),
        ("'Tis 5' long", "Tis 5 long"),
        ("The result is 5!", "The result is 5"),
        ("What is 5!?", "What is 5?"),
        ("What is n!?", "What is n?"),
        ("What is (n)!", "What is (n)"),
        ("What does yes! mean?", "What does yes mean?"),
        ('What is "?', "What is '?"),
        ("What is $?", "What is ?"),
    ],
)
def test_questions_of_different_words_are_two(one: str, other: str):
    """However near their meaning or their spelling is."""
    assert question_topic(one) != question_topic(other)


def test_a_slot_and_a_question_are_never_one_topic():
    """Nor are slots that differ in case."""
    assert len({slot_topic("home"), slot_topic("Home"), question_topic("home")}) == 3


@pytest.mark.parametrize(
    "piece", ["'", "' a", "\u201ca ", "'a", '"a b" ', "?!", "a! ", "'a'a ", "\u00ab a\u00bb", "!", "a.!"]
)
def test_the_longest_text_has_a_topic_at_once(piece: str):
    """Whatever it is made of: a text of a mebibyte is looked at a few times."""
    begun = time.perf_counter()
    question_topic(piece * ((1 << 20) // len(piece)))
    assert time.perf_counter() - begun < 10
