"""`diff` compares what can be compared, says why it does not compare the rest, and finds differences that are there."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from adamem.bench.store import RunFolder
from adamem.errors import DataError
from adamem.files import content_key
from adamem.report.diff import diff
from adamem.report.loaded import load


@pytest.fixture(scope="module")
def two_runs(handmade_at, tmp_path_factory):
    """Two runs on the same data, the second with one seed and one more effort."""
    folder = tmp_path_factory.mktemp("two")
    hnsw = {10: (0.80, 1e-5), 20: (0.90, 2e-5), 60: (0.95, 6e-5)}
    exact = ("exact", {None: (1.0, 1e-3)})
    one = handmade_at(folder / "one").write({"exact": exact, "hnsw": ("hnsw", hnsw)})
    more = ("hnsw", {10: hnsw[10], 19: (0.89, 1.9e-5), 20: hnsw[20], 60: hnsw[60]})
    return one, handmade_at(folder / "two").write({"exact": exact, "hnsw": more}, seeds=1)


def edit(folder, change):
    """Apply `change(worker record, arrays)` to every stage-2 worker of a run, keys and manifest kept whole."""
    run_folder = RunFolder(folder)
    for path in sorted(folder.glob("raw/blocks/*/block.json")):
        block = json.loads(path.read_text())
        for number, worker in enumerate(block["workers"]):
            name = f"blocks/{path.parent.name}/{number}.npz"
            arrays = run_folder.arrays(name)
            change(worker, arrays)
            run_folder.write_arrays(name, arrays)
        path.write_text(json.dumps(block))


def edit_run(folder, change):
    """Apply `change` to run.json."""
    path = folder / "run.json"
    run = json.loads(path.read_text())
    change(run)
    path.write_text(json.dumps(run))


def shown(difference):
    """What a terminal shows of it."""
    stream = io.StringIO()
    Console(file=stream, width=200).print(difference)
    return stream.getvalue()


def test_a_run_does_not_differ_from_itself(measured_toy):
    """Every setting is paired with itself: no difference in recall, p = 1, and no contestant is faster than itself."""
    found = diff(measured_toy, measured_toy)
    assert {row.setting.contestant for row in found.quality} == {"exact", "hnsw"}
    for row in found.quality:
        assert (row.paired.difference, row.p_corrected, row.paired.effect) == (0.0, 1.0, 0.0)
    assert {row.what for row in found.speed} == {"qps", "p50", "p99"}
    for fast in found.speed:
        assert fast.change == pytest.approx(1)
        assert fast.outcome == "level"
    assert found.notes == ()


def test_two_runs_of_one_experiment_meet_where_they_measured_the_same(two_runs):
    """Common settings are compared, and those that only one run has are counted by contestant."""
    found = diff(*two_runs)
    efforts = {row.setting.search["ef"] for row in found.quality if row.setting.contestant == "hnsw"}
    assert efforts == {10, 20, 60}
    assert "hnsw: 1 of 4 points are only in the second run" in found.notes
    exact = [row for row in found.quality if row.setting.contestant == "exact"]
    assert [(row.a, row.b) for row in exact] == [(1.0, 1.0)] * len(exact)
    assert any(row.setting.contestant == "exact" for row in found.speed)


def test_lost_recall_is_found(toy_run, measured_toy):
    """With a third of HNSW's best answers gone in the second run, its recall is lower beyond chance; exact's is not."""

    def spoil(worker, arrays):
        if worker["contestant"] == "hnsw":
            for point in range(len(worker["points"])):
                ranks = arrays[f"p{point}_ranks"]
                ranks[::3, 0] = np.where(ranks[::3, 0] < 254, 254, ranks[::3, 0])

    edit(toy_run, spoil)
    found = diff(measured_toy, toy_run)
    for row in found.quality:
        test = row.paired
        if row.setting.contestant == "exact":
            assert test.difference == 0
            continue
        assert row.b < row.a
        assert row.a - row.b == pytest.approx(-test.difference)
        assert test.low <= test.difference <= test.high < 0
        assert row.paired.p_value < 0.01
        assert row.p_corrected >= row.paired.p_value
        assert test.effect < -0.3
        assert test.worse > 0.2 > test.better
    back = diff(toy_run, measured_toy)
    assert {row.paired.difference > 0 for row in back.quality if row.setting.contestant == "hnsw"} == {True}


def test_a_slower_contestant_is_found_and_a_slower_machine_is_not(toy_run, measured_toy):
    """Everything five times slower changes no ratio to the reference; exact search alone five times slower does."""

    def slow(worker, arrays, *, only=None):
        if only in (None, worker["contestant"]):
            for point in range(len(worker["points"])):
                arrays[f"p{point}_one_ns"] *= 5
                arrays[f"p{point}_batch_ns"] *= 5

    edit(toy_run, slow)
    for fast in diff(measured_toy, toy_run).speed:
        assert fast.change == pytest.approx(1)
        assert fast.outcome == "level"
    edit(toy_run, lambda worker, arrays: slow(worker, arrays, only="exact"))
    for fast in diff(measured_toy, toy_run).speed:
        expected = 1.0 if fast.setting.contestant == "hnsw" else 0.2 if fast.what == "qps" else 5.0
        assert fast.change == pytest.approx(expected)
        assert fast.low <= fast.change <= fast.high


def test_a_change_within_the_noise_is_level(toy_run, measured_toy):
    """The same small change is an outcome in a quiet run, and none where the twin itself differs by more."""

    def quicken(worker, arrays, *, twin):
        for point in range(len(worker["points"])):
            rounds, queries = arrays[f"p{point}_one_ns"].shape
            factor = 1.3 if worker["contestant"] == "exact" else twin if worker["role"] == "twin" else 1.0
            arrays[f"p{point}_one_ns"] = np.full((rounds, queries), round(1e6 * factor), dtype=np.uint32)
            arrays[f"p{point}_batch_ns"] = np.full(rounds, round(1e8 * factor), dtype=np.int64)

    before = toy_run.with_name("before")
    shutil.copytree(measured_toy, before)
    edit(before, lambda worker, arrays: quicken({**worker, "contestant": "hnsw"}, arrays, twin=1.0))
    for twin, outcome in ((1.0, "slower"), (1.5, "level")):
        edit(toy_run, lambda worker, arrays, twin=twin: quicken(worker, arrays, twin=twin))
        rows = [row for row in diff(before, toy_run).speed if row.setting.contestant == "exact"]
        assert {row.outcome for row in rows} == {outcome}
        assert {round(row.noise, 3) for row in rows} == {round(twin - 1, 3)}
    assert {row.outcome for row in diff(toy_run, before).speed if row.setting.contestant == "hnsw"} == {"level"}


def test_timings_of_two_machines_are_not_compared(toy_run, measured_toy):
    """Quality is, and the note says why speed is not."""
    for path in toy_run.glob("raw/blocks/*/block.json"):
        block = json.loads(path.read_text())
        path.write_text(json.dumps({**block, "machine": "another"}))
    found = diff(measured_toy, toy_run)
    assert found.quality
    assert found.speed == ()
    (note,) = [note for note in found.notes if "different machines" in note]
    assert "another" in note


def test_without_a_common_reference_speed_is_not_compared(toy_run, measured_toy):
    """No reference in one run, another reference, or no point of it in common: three different sentences."""

    def role(worker, _arrays):
        if worker["role"] != "contestant":
            worker["role"] = "contestant"

    aside = shutil.copytree(toy_run, toy_run.with_name("aside"))
    edit(aside, role)
    assert any("a run has no reference" in note for note in diff(measured_toy, aside).notes)

    aside = shutil.copytree(toy_run, toy_run.with_name("second"))
    edit(aside, lambda worker, _: worker["build"].update(M=5) if worker["index"] == "hnsw" else None)
    assert any("different references" in note for note in diff(measured_toy, aside).notes)

    def move(worker, _arrays):
        if worker["index"] == "hnsw":
            for point in worker["points"]:
                point["search"]["ef"] += 1000

    edit(toy_run, move)
    assert any("no point in common" in note for note in diff(measured_toy, toy_run).notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run["dataset"].update(fingerprint=content_key("other")), "the runs are on different data"),
        (lambda run: run.update(metrics_version=2), None),
    ],
)
def test_runs_that_cannot_be_paired_say_why(toy_run, measured_toy, change, said):
    """Different data are a note and no rows; a metric version not known here is an error with the way out."""
    edit_run(toy_run, change)
    if said is None:
        with pytest.raises(LookupError, match="unknown metrics version 2"):
            diff(measured_toy, toy_run)
        return
    found = diff(measured_toy, toy_run)
    assert (found.quality, found.speed) == ((), ())
    assert said in found.notes[0]
    assert said in shown(found)


def test_other_queries_cannot_be_paired(toy_run, measured_toy):
    """Query by query needs the same queries."""
    folder = RunFolder(toy_run)
    truth = folder.arrays("truth-test.npz")
    truth["rows"] = truth["rows"][::-1]
    folder.write_arrays("truth-test.npz", truth)
    (note,) = diff(measured_toy, toy_run).notes
    assert "ask different queries" in note


def test_task_quality_is_compared_where_both_have_judgements(toy_run, measured_toy):
    """With the nearest row judged relevant in both runs, MRR@10 stands beside recall; with judgements in one, not."""
    truth = load(toy_run).truth
    count = truth.rows.size
    qrels = {
        "query": np.arange(count),
        "document": truth.ids[:, 0],
        "grade": np.ones(count),
        "document_of_row": np.arange(1500),
    }
    judged = shutil.copytree(toy_run, toy_run.with_name("judged"))
    RunFolder(judged).write_arrays("qrels.npz", {name: array.astype(np.int32) for name, array in qrels.items()})
    assert not any(row.measure == "mrr@10" for row in diff(measured_toy, judged).quality)
    rows = [row for row in diff(judged, judged).quality if row.measure == "mrr@10"]
    assert rows
    assert all(row.a == 1.0 for row in rows if row.setting.contestant == "exact")


def test_a_folder_without_a_run_is_refused(measured_toy, tmp_path):
    """Naming a folder that holds no run is the caller's error, whichever of the two it is."""
    for pair in ((tmp_path, measured_toy), (measured_toy, tmp_path)):
        with pytest.raises(DataError, match="holds no run"):
            diff(*pair)


def test_the_csv_holds_every_comparison_in_full(two_runs, tmp_path):
    """One line a comparison, all columns named, figures unrounded; quality lines leave speed's columns empty."""
    found = diff(*two_runs)
    found.write_csv(tmp_path / "out" / "diff.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "diff.csv").read_text())))
    assert len(rows) == len(found.quality) + len(found.speed)
    first, last = rows[0], rows[-1]
    assert float(first["difference"]) == found.quality[0].paired.difference
    assert (first["ratio"], first["outcome"]) == ("", "")
    assert float(last["ratio"]) == found.speed[-1].change
    assert json.loads(first["search"]) == found.quality[0].setting.search
    assert last["outcome"] == found.speed[-1].outcome


def test_the_terminal_shows_both_tables(two_runs):
    """Quality, speed and the notes stand on the screen with their settings."""
    text = shown(diff(*two_runs))
    for part in ("Quality, query by query", "each run's own reference", "ef=", "k=10", "only in the second run"):
        assert part in text
