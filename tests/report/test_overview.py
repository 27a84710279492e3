"""A suite run for real, and the overview over its data sets: what it says follows from their tables."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from adamem.bench import RunFolder
from adamem.errors import ConfigError, CorruptResult, TrialFailed
from adamem.report import page, render, summary, write
from adamem.report.overview.compose import answer
from adamem.report.overview.members import read_overview
from adamem.report.verify import verify
from adamem.studies import study_class

PRESENT = ("small", "large")


def tables(toy_data) -> dict:
    """Three sizes of the toy data, and a file that is not there."""

    def size(key, n, **more):
        return {"key": key, "name": str(toy_data), "metric": "l2", "queries": 60, "limit": n, **more}

    graph = {"build": {"M": 4, "ef_construction": 40}, "search": {"ef": [4, 8, 12, 16, 24, 40, 80]}}
    return {
        "name": "sizes",
        "title": "Sizes",
        "study": "suite",
        "expected": "Larger is slower.",
        "targets": [0.8, 0.9],
        "measure": {"k": [10], "rounds": 2, "build_seeds": 2, "query_seconds": 0.1, "build_threads": 1},
        "dataset": [
            size("small", 400, title="four hundred"),
            size("middle", 800, measure={"build_seeds": 1}),
            size("large", 1500, contestants=["exact", "hnsw", "flat codes"]),
            {"key": "absent", "name": str(toy_data / "absent.npy"), "metric": "l2"},
        ],
        "contestant": [
            {"name": "exact", "index": "exact"},
            {
                "name": "hnsw",
                "index": "hnsw",
                **graph,
                "reference": True,
                "reference_build": {"M": 4, "ef_construction": 40},
            },
            {
                "name": "faiss",
                "index": "faiss_hnsw",
                "build": {"M": 4, "ef_construction": 40},
                "search": graph["search"],
            },
            {"name": "flat codes", "index": "faiss_pq", "build": {"form": "pq", "m": 8}},
        ],
    }


def study(tables):
    return study_class("suite").from_tables(tables, source="sizes.toml")


@pytest.fixture(scope="session")
def measured_suite(toy_data, quiet, tmp_path_factory):
    """Two of its pieces, one after the other as two commands would, each with its report; nobody writes into it."""
    out = tmp_path_factory.mktemp("suites") / "sizes"
    for key in PRESENT:
        told: list = []
        study(tables(toy_data)).part([key]).run(out, reporter=quiet, done=told.append)
        assert told == [out / key, out]
        for folder in told:
            write(folder)
    return out


@pytest.fixture
def suite_run(measured_suite, tmp_path):
    """A copy, to be damaged at will."""
    return shutil.copytree(measured_suite, tmp_path / "sizes")


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_overview_is_written_from_what_is_finished(measured_suite):
    """It says which data sets are missing, and its page is whole."""
    text = (measured_suite / "README.md").read_text()
    assert "Not in here: middle (not run yet) and absent (not run yet)." in text
    assert "[The report on four hundred](small/report.md)" in text
    assert 'href="large/report.html"' in (measured_suite / "index.html").read_text()
    assert {row["dataset"]: row["state"] for row in rows(measured_suite / "tables" / "members.csv")} == {
        "small": "measured",
        "middle": "not run yet",
        "large": "measured",
        "absent": "not run yet",
    }
    assert page(measured_suite).is_file()


def test_its_figures_are_those_of_the_data_sets_reports(measured_suite):
    """Each cell of speed.csv, latency.csv and costs.csv stands in that data set's headline.csv."""
    found = 0
    for key in PRESENT:
        theirs = {(r["contestant"], r["target_recall"]): r for r in rows(measured_suite / key / "tables/headline.csv")}
        for table, names in (
            ("speed", {"qps": "qps", "qps_ratio": "qps_ratio", "qps_ratio_low": "qps_ratio_low"}),
            ("latency", {"p50_ratio": "p50_ratio", "p99_ratio_high": "p99_ratio_high"}),
            ("costs", {"build_ratio": "build_seconds_ratio", "bytes_ratio": "bytes_ratio"}),
        ):
            for row in rows(measured_suite / "tables" / f"{table}.csv"):
                if row["dataset"] == key:
                    there = theirs[row["contestant"], row["target_recall"]]
                    assert {mine: row[mine] for mine in names} == {mine: there[name] for mine, name in names.items()}
                    found += 1
    assert found == 3 * 2 * (4 + 3)


def test_a_leader_is_set_against_the_next_and_against_another_index(measured_suite):
    """The ratio is the duel's, paired in blocks; of another index means another registry name."""
    for key in PRESENT:
        indexes = {row["contestant"]: row["index"] for row in rows(measured_suite / key / "tables/headline.csv")}
        for lead in rows(measured_suite / key / "tables" / "lead.csv"):
            speeds = {
                row["contestant"]: float(row["qps"])
                for row in rows(measured_suite / key / "tables" / "headline.csv")
                if row["target_recall"] == lead["target_recall"] and row["qps"]
            }
            ranked = sorted(speeds, key=lambda name: -speeds[name])
            assert [lead["best"], lead["next"]] == ranked[:2]
            assert lead["other"] == next(name for name in ranked if indexes[name] != indexes[ranked[0]])
            assert float(lead["next_ratio_low"]) <= float(lead["next_ratio"]) <= float(lead["next_ratio_high"])


def test_a_lead_that_is_a_bound_is_told_as_one(suite_run):
    """The overview's table and its sentence take the sign from the data set's own table."""
    path = suite_run / "small" / "tables" / "lead.csv"
    told = rows(path)
    for which in ("next", "other"):
        told[0] |= {which: "late", f"{which}_ratio": "2.5", f"{which}_bound": "≤", f"{which}_outcome": "ahead"}
    told[0]["unranked"] = ""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, told[0])
        writer.writeheader()
        writer.writerows(told)
    text = render(suite_run)["README.md"].decode()
    assert "≤2.50× late" in text
    assert "the next has points above that recall only, so the lead is a bound, on small (late)" in text
    assert "≤ and ≥ mark bounds" in text
    found = csv.DictReader(render(suite_run)["tables/lead.csv"].decode().splitlines())
    assert next(row["next_bound"] for row in found if row["dataset"] == "small") == "≤"
    path.write_text(path.read_text().replace("≤", "<"))
    with pytest.raises(CorruptResult, match=r"next_bound is '<'"):
        render(suite_run)


def test_contestants_of_one_index_lead_together(suite_run):
    """That one's two forms are not told apart is no draw: every other index is behind both."""
    for key, best, next_ in (("small", "graph", "graph again"), ("large", "graph again", "graph")):
        path = suite_run / key / "tables" / "lead.csv"
        told = rows(path)
        for row in told:
            row |= {"best": best, "next": next_, "next_outcome": "level", "unranked": ""}
            row |= {"other": "exact", "other_ratio": "3", "other_bound": "", "other_outcome": "ahead"}
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, told[0])
            writer.writeheader()
            writer.writerows(told)
    overview = read_overview(suite_run)
    named = [("exact", "exact"), ("graph", "hnsw"), ("graph again", "hnsw")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(overview), "contestants", property(lambda _: named))
        said = answer(overview)
    assert "graph or graph again is ahead of every other index on 2 of 2 data sets (small and large)" in said
    assert "told apart" not in said


def test_sizes_of_one_set_give_scaling_curves(measured_suite):
    """Speed at each target, build time, bytes and the recall within reach, against n."""
    found = rows(measured_suite / "figures" / "scaling.csv")
    assert {row["n"] for row in found} == {"400", "1500"}
    assert {"QPS at recall 0.8", "QPS at recall 0.9", "build, seconds", "memory, MB", "highest recall measured"} == {
        row["what"] for row in found
    }
    reach = {(r["contestant"], r["n"]): float(r["value"]) for r in found if r["what"] == "highest recall measured"}
    assert reach["exact", "400"] == reach["exact", "1500"] == 1.0
    assert reach["flat codes", "1500"] < 1.0
    assert ("faiss", "1500") not in reach


def test_different_sets_give_none(suite_run):
    """Another name is another set, whatever its size."""
    for key in PRESENT:
        path = suite_run / key / "run.json"
        run = json.loads(path.read_bytes())
        run["config"]["dataset"]["name"] = key
        path.write_text(json.dumps(run))
    assert not read_overview(suite_run).scaling
    assert "figures/scaling.csv" not in render(suite_run)


def test_verify_finds_nothing_in_a_sound_suite(measured_suite):
    """Neither in its data sets nor in the overview."""
    assert verify(measured_suite) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "finding"),
    [
        ("tables/speed.csv", "small", "smell", r"tables/speed.csv"),
        ("README.md", "four hundred", "five hundred", "README.md"),
        ("small/tables/headline.csv", "hnsw", "hnws", "small: tables/headline.csv"),
        ("small/run.json", '"complete"', '"incomplete"', "README.md"),
        ("suite.json", "Larger is slower", "Larger is faster", "README.md"),
    ],
)
def test_verify_finds_what_was_altered(suite_run, name, old, new, finding):
    """In the overview, in a data set's report, in what the suite rests on."""
    path = suite_run / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert any(said.startswith(finding) for said in verify(suite_run))


def test_a_piece_measured_by_another_config_is_said_to_be(suite_run, toy_data, quiet):
    """The suite's config went on, this data set's figures did not."""
    changed = tables(toy_data)
    changed["measure"]["rounds"] = 3
    with pytest.raises(TrialFailed, match="1 of 1 data sets could not be measured: absent: there is no file"):
        study(changed).part(["absent"]).run(suite_run, reporter=quiet, done=write)
    assert "Measured by an earlier config than the suite's present one: small and large." in (
        (suite_run / "README.md").read_text()
    )


def test_a_data_set_that_is_not_there_keeps_nobody_from_being_measured(suite_run, toy_data, quiet):
    """The others run, or are found measured; the error comes at the end, after the overview."""
    stamps = {path: path.stat().st_mtime_ns for path in suite_run.rglob("raw/blocks/*/*")}
    with pytest.raises(TrialFailed, match="absent"):
        study(tables(toy_data)).run(suite_run, reporter=quiet, done=write)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps  # what was whole was not measured again
    assert RunFolder(suite_run / "middle").run().status == "complete"
    assert "Not in here: absent" in (suite_run / "README.md").read_text()
    assert verify(suite_run) == []


def test_the_fastest_is_set_against_each_of_the_others(measured_suite):
    """Every contestant with a figure has a row, and the ratio to the next is the lead's."""
    for key in PRESENT:
        leads = {row["target_recall"]: row for row in rows(measured_suite / key / "tables" / "lead.csv")}
        duels = rows(measured_suite / key / "tables" / "duels.csv")
        having = {
            (row["target_recall"], row["contestant"])
            for row in rows(measured_suite / key / "tables" / "headline.csv")
            if row["qps"]
        }
        assert {(row["target_recall"], row[name]) for row in duels for name in ("best", "rival")} == having
        for row in duels:
            lead = leads[row["target_recall"]]
            assert row["best"] == lead["best"]
            assert float(row["qps_times_low"]) <= float(row["qps_times"]) <= float(row["qps_times_high"])
            assert row["p50_times"]
            assert row["p99_times"]
            if row["rival"] == lead["next"]:
                assert float(row["qps_times"]) == pytest.approx(float(lead["next_ratio"]))


def test_a_run_of_one_data_set_says_nothing_of_leads(toy_run):
    """Its report has the tables it always had."""
    assert "tables/lead.csv" not in render(toy_run)


def test_one_data_set_has_no_pieces():
    """`--only` on a plain experiment is a mistake, and said to be."""
    plain = {"name": "x", "title": "x", "dataset": {"name": "y"}, "contestant": [{"name": "n", "index": "exact"}]}
    with pytest.raises(ConfigError, match="has one data set and no pieces, so 'k' is none of them"):
        study_class("sweep").from_tables(plain, source="x.toml").part(["k"])


def test_the_terminal_shows_who_leads_where(measured_suite):
    """The lead table and the answer."""
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(summary(measured_suite))
    told = " ".join(console.export_text().split())  # wherever its lines break
    assert "four hundred (400 × 16, l2)" in told
    assert "At recall@10 0.9" in told
    assert "Not in here" in told
