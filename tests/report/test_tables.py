"""Every figure of a table is what an independent reckoning gives, from raw files or from what is known beforehand."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from adamem.bench.select import Candidate
from adamem.bench.store import RunFolder
from adamem.report import render, write
from adamem.report.document import csv_bytes
from adamem.report.loaded import unbeaten
from adamem.report.tables.duels import duels
from adamem.report.tables.lead import lead
from adamem.report.writing import compared

TARGET = "0.95"


def table(path, name, folder="tables"):
    """A CSV of the report as dictionaries."""
    return list(csv.DictReader(io.StringIO((path / folder / f"{name}.csv").read_text())))


def one(rows, **wanted):
    """The one row that has these values."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, found)
    return found[0]


def raw_points(path, contestant, role):
    """(recall, geometric mean QPS) of each point, reckoned here from ranks and nanoseconds alone."""
    folder = RunFolder(path)
    recalls, logs = [], []
    for key in folder.run().blocks:
        for measured in folder.measured("measure", folder.block("measure", key)):
            if (measured.worker.contestant, measured.worker.role) == (contestant, role):
                points = range(len(measured.worker.points))
                recalls.append([(measured.arrays[f"p{p}_ranks"] < 10).mean() for p in points])
                logs.append([np.log(50 / (measured.arrays[f"p{p}_batch_ns"] * 1e-9)).mean() for p in points])
    return np.mean(recalls, axis=0), np.exp(np.mean(logs, axis=0))


def test_qps_at_a_recall_is_interpolated_between_its_neighbours(three):
    """The headline's QPS equals ln-linear interpolation of raw nanoseconds, reckoned without our statistics."""
    recalls, speeds = raw_points(three, "hnsw", "reference")
    low, high = np.flatnonzero(recalls <= 0.95)[-1], np.flatnonzero(recalls >= 0.95)[0]
    share = (0.95 - recalls[low]) / (recalls[high] - recalls[low])
    expected = np.exp(np.log(speeds[low]) + share * np.log(speeds[high] / speeds[low]))
    row = one(table(three, "headline"), contestant="hnsw", target_recall=TARGET)
    assert row["qps_status"] == "bracketed"
    assert float(row["qps"]) == pytest.approx(expected, rel=1e-5)
    assert float(row["qps_low"]) < expected < float(row["qps_high"])


def test_a_ratio_to_the_reference_is_that_of_the_two_speeds(three):
    """All blocks hold both, so the ratio of the estimates is the mean of the ratios."""
    rows = table(three, "headline")
    pq = one(rows, contestant="pq <b>&|*", target_recall=TARGET)
    hnsw = one(rows, contestant="hnsw", target_recall=TARGET)
    assert float(pq["qps_ratio"]) == pytest.approx(float(pq["qps"]) / float(hnsw["qps"]), rel=1e-4)
    assert float(hnsw["qps_ratio"]) == 1.0


def test_the_page_and_the_markdown_show_the_csvs_figures(three):
    """What a reader sees is the CSV's figure to three digits, in both forms of the report."""
    row = one(table(three, "headline"), contestant="hnsw", target_recall=TARGET)
    shown = format(float(format(float(row["qps"]), ".3g")), ",.0f")
    for name in ("report.html", "report.md"):
        assert shown in (three / name).read_text(), name


def test_points_bear_their_recall_and_speed(three):
    """Every measured point stands in points.csv with the recall that was put into it."""
    rows = table(three, "points")
    for effort, share in ((10, 0.80), (40, 0.91), (160, 0.96)):
        row = one(rows, contestant="hnsw", search=f"ef={effort}")
        assert float(row["recall"]) == pytest.approx(share, abs=1e-9)
        assert row["counters"] == f"distances={10 * effort}"
    assert float(one(rows, contestant="exact")["recall"]) == 1.0


def test_counted_cost_is_interpolated_as_speed_is(three):
    """Each point counted ten distances an effort: between two points the logarithms are interpolated in recall."""
    recalls, _ = raw_points(three, "hnsw", "reference")
    efforts = sorted(int(row["search"].removeprefix("ef=")) for row in hnsw_points(three))
    low, high = np.flatnonzero(recalls <= 0.95)[-1], np.flatnonzero(recalls >= 0.95)[0]
    share = (0.95 - recalls[low]) / (recalls[high] - recalls[low])
    expected = 10 * efforts[low] * (efforts[high] / efforts[low]) ** share
    row = one(table(three, "counted"), contestant="hnsw", target_recall=TARGET)
    assert float(row["distances"]) == pytest.approx(expected, rel=1e-6)
    assert float(row["distances_low"]) < expected < float(row["distances_high"])
    exact = one(table(three, "counted"), contestant="exact", target_recall=TARGET)
    assert float(exact["distances"]) == float(exact["distances_low"]) == pytest.approx(600)


def hnsw_points(path):
    return [row for row in table(path, "points") if (row["contestant"], row["role"]) == ("hnsw", "reference")]


def test_latency_is_the_percentile_of_per_query_medians(three):
    """p99 of the exact search equals numpy's percentile of medians over rounds, geometrically meant over seeds."""
    folder = RunFolder(three)
    logs = []
    for key in folder.run().blocks:
        for measured in folder.measured("measure", folder.block("measure", key)):
            if measured.worker.contestant == "exact":
                seconds = measured.arrays["p0_one_ns"] * 1e-9
                logs.append(np.log(np.percentile(np.median(seconds, axis=0), 99)))
    row = one(table(three, "one-query"), contestant="exact", target_recall=TARGET)
    assert float(row["p99"]) == pytest.approx(np.exp(np.mean(logs)), rel=1e-5)


def test_task_quality_is_reckoned_from_the_third_neighbour(three):
    """The one relevant document is the third nearest: exact search has it third, so MRR is 1/3 and nDCG 1/log2(4)."""
    row = one(table(three, "task-quality"), contestant="exact")
    assert float(row["mrr"]) == pytest.approx(1 / 3, rel=1e-5)
    assert float(row["ndcg"]) == pytest.approx(0.5, rel=1e-5)
    assert float(row["recall_all"]) == 1.0


def test_task_quality_is_tested_against_exact_search(handmade, contestants):
    """Who loses the relevant third neighbour everywhere differs by all of its worth; who keeps it, by nothing."""
    given = {name: contestants[name] for name in ("exact", "hnsw")} | {"lossy": ("hnsw", {10: (0.2, 1e-6)})}
    path = handmade.write(given, qrels=True)
    write(path)
    rows = table(path, "task-quality")
    lossy = one(rows, contestant="lossy")
    assert float(lossy["ndcg_to_exact_difference"]) == pytest.approx(-0.5, rel=1e-5)
    assert float(lossy["ndcg_to_exact_worse"]) == 1.0
    assert float(lossy["ndcg_to_exact_p_holm"]) < 0.01
    for row in rows:
        if row["contestant"] == "hnsw":
            assert float(row["ndcg_to_exact_difference"]) == 0.0
            assert float(row["ndcg_to_exact_p_holm"]) == 1.0
    assert one(rows, contestant="exact")["ndcg_to_exact_difference"] == ""
    page = (path / "report.html").read_text()
    assert "told apart from exact search: lossy for 0.9 and 0.95 (−0.5000)" in page


def test_a_contestant_that_lost_a_seed_is_marked(handmade, contestants):
    """The headline says on how many of the seeds its figures rest."""
    path = handmade.write(contestants)
    run = handmade.folder.run()
    block = handmade.folder.block("measure", run.blocks[1])
    workers = [
        worker.model_copy(update={"status": "failed", "why": "it fell", "points": []})
        if worker.index == "faiss_pq"
        else worker
        for worker in block.workers
    ]
    (written,) = handmade.folder.raw.glob(f"*/{block.key[:16]}*/block.json")
    written.write_text(block.model_copy(update={"workers": workers}).model_dump_json())
    handmade.folder.write_manifest(run)
    write(path)
    assert "only 1 of 2 seeds" in (path / "report.html").read_text()


def test_a_target_is_read_off_one_line_of_settings(handmade, contestants):
    """Between two values of another parameter there is nothing to choose: each target takes the faster line whole."""
    lines = {(10, 1): (0.89, 1e-5), (40, 1): (0.91, 2e-5), (400, 1): (0.955, 9e-4)}
    lines |= {(10, 8): (0.885, 4e-5), (40, 8): (0.94, 5e-5), (400, 8): (0.96, 6e-5)}
    path = handmade.write({"exact": contestants["exact"], "hnsw": contestants["hnsw"], "two": ("faiss_hnsw", lines)})
    write(path)
    rows = [row for row in table(path, "at-recall") if row["contestant"] == "two"]
    assert [row["points"] for row in rows] == ["ef=10 to 40, k_factor=1", "ef=40 to 400, k_factor=8"]
    drawn = [row for row in table(path, "pareto", "figures") if row["contestant"] == "two"]
    assert len({row["line"] for row in drawn}) == 2


def test_a_line_that_calibration_never_saw_is_the_last_choice(handmade, contestants):
    """A build of which only a setting outside the grid was measured is shown with it; the report does not fall over."""
    path = handmade.write(contestants)
    key = handmade.folder.run().sweep[1]
    (record,) = handmade.folder.raw.glob(f"sweep/{key[:16]}/block.json")
    record.write_text(record.read_text().replace('"ef":', '"k_factor": 8, "ef":'))
    handmade.folder.write_manifest(handmade.folder.run())
    write(path)
    assert one(table(path, "headline"), contestant="hnsw", target_recall="0.9")["qps"]


def test_the_noise_floor_is_the_twins_difference(handmade, contestants):
    """A twin that is a third slower makes a noise floor of a third, and with it PQ's lead or lag is judged."""
    path = handmade.write(contestants, twin_slower=4 / 3)
    write(path)
    row = one(table(path, "headline"), contestant="hnsw", target_recall=TARGET)
    assert float(row["qps_noise_floor"]) == pytest.approx(1 / 3, rel=0.01)
    assert "differed by up to 33 % of QPS" in (path / "report.html").read_text()


def test_gaps_and_unreached_targets_are_explained(handmade, contestants):
    """Where nothing was measured near enough, the cell says so and names what was; no figure is made up."""
    holed = {"exact": contestants["exact"], "hnsw": ("hnsw", {10: (0.80, 1e-5), 40: (0.93, 5e-5)})}
    path = handmade.write(holed)
    write(path)
    rows = table(path, "headline")
    assert one(rows, contestant="hnsw", target_recall="0.9")["qps_status"] == "gap"
    assert one(rows, contestant="hnsw", target_recall="0.9")["qps"] == ""
    assert one(rows, contestant="hnsw", target_recall="0.95")["qps_status"] == "unreached"
    page = (path / "report.html").read_text()
    assert "not bracketed<small>0.800\u00a0…\u00a00.930</small>" in page
    assert "not reached<small>best 0.930</small>" in page


def test_failures_stand_with_their_reasons(three):
    """A contestant that failed is in the table of exclusions, with what happened, and in no other."""
    row = one(table(three, "excluded"), index="lost")
    assert row["status"] == "failed"
    assert row["why"].startswith("building it was stopped after 1 s")
    assert not [row for row in table(three, "points") if row["contestant"] == "lost"]


def test_every_record_of_a_table_has_the_same_columns(three):
    """A CSV can be read by a machine: no line has more or fewer cells than the head."""
    for file in three.glob("*/*.csv"):
        rows = list(csv.reader(io.StringIO(file.read_text())))
        assert len(rows) > 1, file
        assert {len(row) for row in rows} == {len(rows[0])}, file


def test_tables_and_render_agree(three):
    """`render` gives the very bytes that `write` wrote, file by file, and nothing else is there."""
    texts = {
        str(file.relative_to(three)): file.read_bytes()
        for file in [*three.glob("tables/*"), *three.glob("figures/*.csv"), *three.glob("report.*")]
    }
    assert render(three) == texts


def test_a_point_beaten_only_by_chance_stays_on_the_curve(handmade, contestants):
    """A lower effort timed slower in stage 1 by chance must not tear a hole into the curve around a target."""
    points = {20: (0.89, 4e-5), 40: (0.91, 3e-5), 80: (0.94, 7e-5), 160: (0.96, 6e-5)}
    path = handmade.write({"exact": contestants["exact"], "hnsw": ("hnsw", points)})
    write(path)
    rows = table(path, "headline")
    assert [row["qps_status"] for row in rows if row["contestant"] == "hnsw"] == ["bracketed", "bracketed"]
    drawn = [row["search"] for row in table(path, "pareto", "figures") if row["contestant"] == "hnsw"]
    assert drawn == ["ef=20", "ef=40", "ef=80", "ef=160"]


def test_across_other_parameters_only_a_clear_lead_beats_a_point():
    """With two search parameters, as much recall in half the time drops a point; in nine tenths it may be chance."""
    searches = [{"nprobe": p, "k_factor": f} for f in (2, 8) for p in (1, 2, 4)]
    recalls = [0.5, 0.6, 0.7, 0.7, 0.8, 0.9]
    seconds = [2.0, 0.9, 4.0, 1.9, 3.0, 5.0]
    kept = unbeaten(Candidate({}, searches, recalls, seconds, 1))
    assert searches[2] not in kept
    assert [search for search in searches if search not in kept] == [searches[2]]
    assert searches[2] in unbeaten(Candidate({}, searches, recalls, [2.0, 0.9, 2.1, 1.9, 3.0, 5.0], 1))


def test_defaults_are_the_ones_that_the_run_names(handmade, contestants):
    """The table of untuned figures holds the named build at the named effort, though the grid measured it."""
    named = {"exact": {"build": {}, "search": {}}, "hnsw": {"build": {"M": 16}, "search": {"ef": 40}}}
    path = handmade.write({name: contestants[name] for name in named}, defaults=named)
    write(path)
    rows = table(path, "defaults")
    assert [(row["contestant"], row["search"]) for row in rows] == [("exact", ""), ("hnsw", "ef=40")]
    assert float(rows[1]["recall"]) == pytest.approx(0.91, abs=1e-9)


def test_bytes_and_build_times_are_the_workers_own(three):
    """Parts of memory and build seconds go from the records into cost.csv unchanged."""
    rows = table(three, "cost", "figures")
    assert one(rows, contestant="hnsw", part="graph")["value"] == "9600"
    assert [row["value"] for row in rows if row["contestant"] == "hnsw" and row["what"] == "build seconds"] == [
        "2",
        "2.1",
    ]
    assert re.fullmatch(r"19200", one(rows, what="raw vectors")["value"])


FAST = {10: (0.80, 1e-5), 20: (0.89, 2e-5), 40: (0.91, 3e-5), 80: (0.94, 6e-5), 160: (0.96, 9e-5)}
LATE = {10: (0.93, 9e-5), 20: (0.94, 1e-4), 40: (0.96, 2e-4)}
"""All of it above recall 0.9."""


def test_a_lead_over_points_that_lie_above_the_target_is_at_most_that(handmade):
    """The rival could be faster with less effort: cell, record and note say so, and only where it is so."""
    told = lead(compared(handmade.write({"hnsw": ("hnsw", FAST), "late": ("faiss_hnsw", LATE)})))
    for name, column in (("next", 3), ("other", 4)):
        assert [record[f"{name}_bound"] for record in told.records] == ["≤", ""]
        cells = [row[column].text for row in told.groups[0].rows]
        assert re.fullmatch(r"≤3\.\d+× late", cells[0])
        assert re.fullmatch(r"1\.9\d× late", cells[1])
    assert told.notes == ("≤ and ≥ mark bounds: all points of the one, or of the other, lie above the recall.",)


def test_a_leader_above_the_target_leads_by_at_least_that(handmade):
    """With less effort it could only be faster; where both lie above, nothing is known of their ratio."""
    early = {10: (0.93, 1e-6), 20: (0.96, 2e-6)}
    path = handmade.write({"hnsw": ("hnsw", FAST), "early": ("faiss_hnsw", early), "late": ("faiss_pq", LATE)})
    told = lead(compared(path))
    assert [record["next_bound"] for record in told.records] == ["≥", ""]
    against = {(row["target_recall"], row["rival"]): row["qps_bound"] for row in duels(compared(path)).records}
    assert against == {(0.9, "hnsw"): "≥", (0.9, "late"): "", (0.95, "hnsw"): "", (0.95, "late"): ""}


def test_a_lead_over_exact_search_is_no_bound(handmade, contestants):
    """It has one point only: what it costs is what it costs, as in the headline."""
    path = handmade.write({name: contestants[name] for name in ("exact", "hnsw")})
    for told in (lead(compared(path)), duels(compared(path))):
        assert not any(value for record in told.records for name, value in record.items() if name.endswith("_bound"))
        assert told.notes == ()


def test_the_counted_cost_says_what_is_left_out(three):
    """Turning a query into its code is no distance, and the page says so."""
    assert "What turning the query into its code costs is not among them" in (three / "report.html").read_text()


def test_records_of_several_kinds_share_one_head():
    """Each value stands below its name, wherever its record has it; what a record lacks is empty."""
    written = csv_bytes([{"one": 1, "two": 2.5}, {"one": 3, "three": True}, {"two": 4, "one": None}])
    assert written.decode().splitlines() == ["one,two,three", "1,2.5,", "3,,yes", ",4,"]
    assert csv_bytes([]) == b""
