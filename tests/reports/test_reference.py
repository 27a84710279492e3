"""The committed reference reports: every figure in them follows from the raw files beside it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamem.bench import RunFolder
from adamem.report import wording
from adamem.report.verify import verify

REFERENCE = Path(__file__).resolve().parents[2] / "reports" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.glob("*/run.json"))
SUITES = sorted(path.parent for path in REFERENCE.glob("*/suite.json"))
PIECES = sorted(path.parent for path in REFERENCE.glob("*/*/run.json"))


def name_of(folder):
    return folder.relative_to(REFERENCE).as_posix()


@pytest.mark.parametrize("folder", FOLDERS + SUITES, ids=name_of)
def test_a_reference_report_follows_from_its_raw_files(folder):
    """Each table cell, each figure's values and both pages, recomputed; of a suite the overview and every piece."""
    assert verify(folder) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=name_of)
def test_a_reference_report_follows_on_another_processor_too(folder):
    """A BLAS that sums in the order of a processor of 2004 changes last bits, and not one digit that is shown."""
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "verify", str(folder)]
    old = {**os.environ, "OPENBLAS_CORETYPE": "Prescott"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=old)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", FOLDERS + PIECES, ids=name_of)
def test_a_reference_report_is_whole_and_of_a_decent_size(folder):
    """Complete, 1,000 test queries, at least 3 build seeds and 5 rounds, at most an hour's work; and its size.

    Beyond 200,000 vectors, whose builds take minutes each, one build seed and 3 rounds are enough.
    Seven contestants take up to 15 MB; fifteen, as beside other libraries, up to 20.
    """
    run = RunFolder(folder).run()
    assert run.status == "complete"
    assert run.dataset.queries.test >= 950
    seeds, rounds = (3, 5) if run.dataset.n <= 200_000 else (1, 3)
    assert run.config["measure"]["build_seeds"] >= seeds
    assert run.config["measure"]["rounds"] >= rounds
    assert sum(run.wall_seconds.values()) <= 3600
    most = 15 if len(run.config["contestant"]) <= 7 else 20
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= most * 2**20


@pytest.mark.parametrize("folder", FOLDERS + PIECES, ids=name_of)
def test_a_reference_report_comes_from_the_experiment_of_its_name(folder):
    """What experiments/NAME.toml measures today is what the committed run measured."""
    from adamem.bench import Experiment, Suite, experiments_of, read, validate

    name, *key = name_of(folder).split("/")
    source = REFERENCE.parents[1] / "experiments" / f"{name}.toml"
    if key:
        suite = validate(Suite, read(source), source=source.name)
        experiment = experiments_of(suite, source=source.name)[key[0]].resolved()
    else:
        experiment = validate(Experiment, read(source), source=source.name).resolved()
    run = RunFolder(folder).run()
    for table in ("dataset", "measure", "contestant", "targets"):
        assert run.config[table] == experiment[table]


def rows(name, table):
    """A table of a reference report as dictionaries."""
    with (REFERENCE / name / "tables" / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_readme_quotes_the_report_on_text_memory():
    """The figures under the README's picture are the report's."""
    readme = " ".join((REFERENCE.parents[1] / "README.md").read_text().split())
    speeds = {row["contestant"]: row for row in rows("text-memory", "headline") if row["target_recall"] == "0.95"}
    best, exact = (float(speeds[name]["qps"]) for name in ("faiss-hnsw-sq8-refine", "exact"))
    assert f"answers at least {wording.number(best)} queries a second, exact search {wording.number(exact)}." in readme
    assert max(float(row["qps"] or 0) for row in speeds.values()) == best
    lost = {
        row["contestant"]: -float(row["ndcg_to_exact_difference"])
        for row in rows("text-memory", "task-quality")
        if row["target_recall"] == "0.95"
    }
    graphs = [lost[name] for name in ("hnsw", "faiss-hnsw-sq8-refine", "faiss-nsg")]
    assert f"the graphs lose {min(graphs):.3f} to {max(graphs):.3f} of nDCG@10 against exact search" in readme
    assert f"the inverted file {lost['faiss-ivfpq-fs']:.3f}." in readme


def test_the_readme_quotes_the_comparison_of_spiral_with_its_peers():
    """The figures under the README's picture of SpiralGraph, and who is fastest at all three recalls."""
    readme = " ".join((REFERENCE.parents[1] / "README.md").read_text().split())
    found = {
        (row["contestant"], row["target_recall"]): row for row in rows("spiral-vs-peers/text-questions", "headline")
    }
    ours, best, hnsw = (found[name, "0.95"] for name in ("spiral", "svs-vamana", "hnsw"))
    speeds = [wording.number(float(row["qps"])) for row in (ours, best, hnsw)]
    assert f"SpiralGraph answers {speeds[0]} queries a second" in readme
    assert f"the best of the other libraries (SVS's Vamana) {speeds[1]}, hnswlib {speeds[2]}" in readme
    lead = {row["target_recall"]: row for row in rows("spiral-vs-peers/text-questions", "lead")}
    ratios = [float(lead[target]["other_ratio"]) for target in ("0.9", "0.95", "0.99")]
    assert all(row["best"].startswith("spiral") and row["other_outcome"] == "ahead" for row in lead.values())
    bound = "at most " if lead["0.9"]["other_bound"] else ""
    assert f"it is {bound}{ratios[0]:.1f}, {ratios[1]:.1f} and {ratios[2]:.1f} times the next library" in readme
    assert f"Its build takes {float(ours['build_seconds_ratio']):.2f} of hnswlib's time (M = 16)" in readme
    assert f"its memory is {wording.number(float(ours['bytes_ratio']))} times hnswlib's" in readme


def test_the_table_on_spiral_and_its_peers_quotes_the_report():
    """Speeds, ratios and intervals in reports/README.md."""
    text = (REFERENCE.parent / "README.md").read_text()
    found = {
        (row["contestant"], row["target_recall"]): row for row in rows("spiral-vs-peers/text-questions", "headline")
    }

    def line(label, name, what):
        cells = []
        for target in ("0.9", "0.95", "0.99"):
            row = found[name, target]
            value, low, high = (wording.number(float(row[f"{what}{end}"])) for end in ("", "_low", "_high"))
            sign = "≥" if row["qps_status"] == "exceeds" else ""
            cells.append(value if what == "qps" else f"{sign}{value}× [{low}, {high}]")
        return f"| {label} | {' | '.join(cells)} |"

    assert line("SpiralGraph, QPS", "spiral", "qps") in text
    assert line("to hnswlib, M = 16, ef_construction = 200", "spiral", "qps_ratio") in text
    assert line("hnswlib's best build to the same", "hnsw", "qps_ratio") in text
    assert line("hnswlib's best build on huge pages to the same", "hnsw-huge-pages", "qps_ratio") in text
    assert line("the next library, SVS's Vamana, to the same", "svs-vamana", "qps_ratio") in text
    assert line("p50 of single queries, to hnswlib's", "spiral", "p50_ratio") in text
    assert line("p99 of single queries, to hnswlib's", "spiral", "p99_ratio") in text


def test_the_comparison_with_published_curves_quotes_the_report():
    """The rows of reports/README.md on hnswlib are what the Fashion-MNIST report has, and the shapes agree."""
    text = (REFERENCE.parent / "README.md").read_text()
    found = {
        float(row["target_recall"]): row for row in rows("fashion-mnist", "headline") if row["contestant"] == "hnsw"
    }
    for label, what in (("asked one by one", "qps_one"), ("one call", "qps")):
        speeds = [float(found[target][what]) for target in (0.9, 0.95, 0.99)]
        ratios = [speeds[1] / speeds[0], speeds[2] / speeds[0]]
        cells = [*(wording.number(speed) for speed in speeds), *(f"{ratio:.2f}" for ratio in ratios)]
        assert f"| ours, {label} | {' | '.join(cells)} |" in text
        for ratio, published in zip(ratios, (8.4 / 10.2, 4.1 / 10.2), strict=True):
            assert abs(ratio / published - 1) < 0.15  # how well the curves could be read off
    exact = [row for row in rows("fashion-mnist", "points") if row["contestant"] == "exact" and row["k"] == "10"]
    assert [float(row["recall"]) for row in exact] == [1.0]
