"""A report can be read whatever is missing: it says so, or leaves the section out."""

from __future__ import annotations

import re

import pytest

from adamem.report import write


def titles(path):
    """The page's section headings."""
    return re.findall(r"<h2[^>]*>(.*?)</h2>", (path / "report.html").read_text())


def test_nothing_is_left_out_of_a_full_run(three):
    """Every section that a run can have is there."""
    assert titles(three) == [
        "Which index should I use here?",
        "Speed and recall",
        "Latency of single queries",
        "Build time and memory",
        "Counted cost",
        "Quality of the answers",
        "Task quality",
        "Tuning effort",
        "Failed and invalid",
        "Data",
        "Machine",
        "Method in short",
        "Recompute",
    ]


@pytest.fixture
def contestants(contestants):
    """Two are enough here."""
    return {name: contestants[name] for name in ("exact", "hnsw")}


def test_without_judgements_and_hardness_their_parts_are_left_out(handmade, contestants):
    """No section, no table, no figure of them; the rest stands."""
    path = handmade.write(contestants, hardness=False)
    write(path)
    assert "Task quality" not in titles(path)
    assert "Quality of the answers" in titles(path)
    assert not list(path.glob("*/task*"))
    assert not list(path.glob("figures/hardness*"))


@pytest.mark.parametrize(("seeds", "rounds"), [(2, 1), (1, 1)])
def test_one_seed_or_one_round_is_said(handmade, contestants, seeds, rounds):
    """The report stands, and its method says that there was no spread to resample."""
    path = handmade.write(contestants, seeds=seeds, rounds=rounds)
    write(path)
    assert "one seed or round has no spread" in (path / "report.md").read_text()


def test_without_a_reference_there_are_no_ratios(handmade, contestants):
    """The table says why there are none, and no cell holds one."""
    path = handmade.write(contestants, reference=None)
    write(path)
    text = (path / "report.html").read_text()
    assert "There is no reference" in text
    assert "No noise floor" in text
    assert "nan" not in (path / "tables" / "headline.csv").read_text()


def test_where_everything_failed_the_reasons_remain(handmade):
    """No figures, but a first screen that says so and the reasons."""
    path = handmade.write({}, reference=None, failed=[("lost", "it ran out of memory"), ("gone", "it hung")])
    write(path)
    assert titles(path)[0] == "Which index should I use here?"
    text = (path / "report.md").read_text()
    assert "Nothing could be measured" in text
    assert "it ran out of memory" in text
    assert not list(path.glob("figures/*"))


def test_without_a_batch_call_single_queries_are_compared(handmade, contestants):
    """A contestant without a batch call has no QPS of one call; its latencies stand in the one-query table."""
    path = handmade.write(contestants, batch=False)
    write(path)
    page = (path / "report.html").read_text()
    assert "not measured" in page
    assert "one by one" in (path / "figures" / "pareto.csv").read_text()


def test_an_incomplete_run_is_called_so(handmade, contestants):
    """The first screen warns, and the machine's section has no end."""
    path = handmade.write(contestants, status="incomplete")
    write(path)
    text = (path / "report.md").read_text()
    assert "This run is not complete" in text
    assert "not finished" in text


def test_a_disturbed_machine_is_flagged_where_times_stand(handmade, contestants):
    """Notes of the blocks come out as a warning and block by block."""
    path = handmade.write(contestants, notes=["other processes used 40 % of the CPU time"])
    write(path)
    assert 'class="warning">2 of 2 blocks were disturbed' in (path / "report.html").read_text()
    assert (path / "tables" / "fitness.csv").read_text().count("other processes used 40 %") == 2
