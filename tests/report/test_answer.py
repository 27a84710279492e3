"""The first screen's sentences say what the figures say: no more, and nothing less."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from adamem.report import summary, write
from adamem.report.answer import answer, caveat, crossover, doubt, exact_sentence
from adamem.report.writing import compared

FAST = {10: (0.80, 1e-5), 20: (0.89, 2e-5), 40: (0.91, 3e-5), 80: (0.94, 6e-5), 160: (0.96, 9e-5)}
EXACT = ("exact", {None: (1.0, 1e-3)})


def slower(points, factor):
    """The same recalls at `factor` times the cost."""
    return {effort: (share, spent * factor) for effort, (share, spent) in points.items()}


def test_a_clear_winner_is_named_with_its_lead(three):
    """HNSW is ahead of PQ at both targets: one sentence with both speeds, the runner-up and the noise."""
    text = answer(compared(three))
    assert text.startswith("At recall@10 0.9 and 0.95 use hnsw: ")
    assert re.search(r"2\.0\d to 2\.1\d times the next best \(pq <b>&\|\*\), beyond the noise of 2(\.\d)? %", text)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ((0.9,), r"second, at most 3\.\d+ times the next best \(late\), beyond"),
        ((0.9, 0.92), r"at most 2\.\d+ to 3\.\d+ times the next best \(late\), beyond"),
        ((0.9, 0.95), r"second, 1\.9\d to 3\.\d+ times the next best \(late; at most that at 0\.9\), beyond"),
        ((0.95,), r"second, 1\.9\d times the next best \(late\), beyond"),
    ],
)
def test_a_lead_over_a_bound_is_at_most_that(handmade, targets, said):
    """The next best has no point at or below some of the recalls: with less effort it could only be faster there."""
    late = {10: (0.93, 9e-5), 20: (0.94, 1e-4), 40: (0.96, 2e-4)}
    path = handmade.write({"hnsw": ("hnsw", FAST), "late": ("faiss_hnsw", late)}, targets=targets)
    assert re.search(said, answer(compared(path)))


def test_contestants_within_the_noise_are_not_told_apart(handmade):
    """Five per cent ahead while twins differ by twenty: nobody is called the winner."""
    path = handmade.write({"hnsw": ("hnsw", FAST), "near": ("faiss_hnsw", slower(FAST, 1.05))}, twin_slower=1.2)
    assert "hnsw and near are not told apart" in answer(compared(path))


def test_exact_search_wins_where_nothing_is_faster(handmade):
    """With an index slower than brute force the answer is brute force, and it is said that no index is needed."""
    path = handmade.write({"exact": ("exact", {None: (1.0, 1e-6)}), "hnsw": ("hnsw", FAST)})
    comparison = compared(path)
    assert "use exact" in answer(comparison)
    assert exact_sentence(comparison).startswith("Exact search already wins at this size: at 600 vectors")


def test_exact_search_that_loses_is_given_a_size(handmade):
    """HNSW answers about 14 times as many at 0.95, so exact search would be level at about 600 / 14 vectors."""
    path = handmade.write({"exact": EXACT, "hnsw": ("hnsw", FAST)})
    text = exact_sentence(compared(path))
    assert text.startswith("Exact search does not win at this size (600 vectors): at recall 0.95 hnsw answers 13.")
    assert "Below about 44 vectors" in text or "Below about 45 vectors" in text


def test_exact_search_that_wins_at_one_target_only_is_told_so(handmade):
    """Faster at 0.9, slower at 0.95: both are said."""
    path = handmade.write({"exact": ("exact", {None: (1.0, 5e-5)}), "hnsw": ("hnsw", FAST)})
    text = exact_sentence(compared(path))
    assert text.startswith("Exact search already wins at this size at recall 0.95, not elsewhere: at recall 0.9 hnsw")


def test_no_winner_is_named_past_a_faster_one_that_was_not_measured_there(handmade):
    """HNSW has no point near 0.9 but outruns exact search beyond it: calling exact search the best would mislead."""
    path = handmade.write({"exact": EXACT, "hnsw": ("hnsw", {10: (0.80, 1e-5), 160: (0.96, 9e-5)})}, targets=(0.9,))
    comparison = compared(path)
    assert answer(comparison) == (
        "At recall@10 0.9 hnsw has no figure, its settings go from 0.800 to 0.960; yet past the target it answers "
        "up to 11,100 queries a second, more than exact, the best that has a figure there."
    )
    assert "hnsw answers 11" in exact_sentence(comparison)


def test_a_rival_that_cannot_be_ruled_out_is_mentioned(handmade):
    """PQ is faster below the target, slower above it and has no point near: whether it is ahead is left open."""
    rival = {1: (0.85, 1e-6), 2: (0.99, 1e-3)}
    path = handmade.write({"hnsw": ("hnsw", FAST), "pq": ("faiss_pq", rival)}, targets=(0.95,))
    assert doubt(compared(path)) == "Whether pq is ahead at 0.95 is open: it has no point near enough there."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"status": "incomplete"}, "not complete"),
        ({"notes": ["other processes used 40 % of the CPU time"]}, "not quiet during 2 of 2 blocks"),
        ({"seeds": 1}, "Only 1 build seed and 3 rounds"),
        ({"seeds": 3, "rounds": 5}, "One data set on one machine"),
        ({"seeds": 3, "rounds": 5, "reference": None}, "no twin"),
    ],
)
def test_the_caveat_is_the_gravest_one(handmade, options, said):
    """One sentence of caution, about what weighs most."""
    assert said in caveat(compared(handmade.write({"exact": EXACT, "hnsw": ("hnsw", FAST)}, **options)))


def test_the_terminals_last_lines_hold_table_and_answer(three):
    """`summary` prints the table, the noise floor, the answer and the exact-search sentence."""
    console = Console(width=180, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(summary(three))
    text = " ".join(captured.get().split())
    for part in ("QPS at 0.95", "pq <b>&|*", "Noise floor", "use hnsw", "Exact search does not win"):
        assert part in text, part


def test_a_run_that_is_not_finished_is_not_called_a_failure(handmade):
    """Where nothing has been measured yet, the page says so, and what to do."""
    path = handmade.write({"exact": EXACT}, status="incomplete")
    run = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**run, "blocks": []}))
    assert answer(compared(path)) == (
        "Nothing has been measured on the test queries yet: the run is not finished; run it again to go on."
    )


@pytest.mark.parametrize(("n", "margin", "expected"), [(60000, 37.3, 1600), (600, 13.5, 44), (10, 99.0, 1)])
def test_the_crossover_is_a_rough_figure(n, margin, expected):
    """Two digits, never below one vector: more would feign knowledge."""
    assert crossover(n, margin) == expected


def test_a_page_with_one_contestant_alone_answers_too(handmade):
    """Only exact search: it is the answer, and nothing is said of ratios."""
    path = handmade.write({"exact": EXACT})
    write(path)
    page = (path / "report.html").read_text()
    assert "use exact: " in page
    assert "There is no reference" in page
