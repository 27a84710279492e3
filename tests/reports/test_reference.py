"""The committed reference reports: every figure in them follows from the raw files beside it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamem.bench import RunFolder
from adamem.errors import InvalidInput
from adamem.report import wording
from adamem.report.adaptation.gathered import gather
from adamem.report.adaptation.served import served
from adamem.report.verify import verify

REFERENCE = Path(__file__).resolve().parents[2] / "reports" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.glob("*/run.json"))
SUITES = sorted(path.parent for path in REFERENCE.glob("*/suite.json"))
PIECES = sorted(path.parent for path in REFERENCE.glob("*/*/run.json"))
ENGINES = sorted(path.parent for path in REFERENCE.glob("*/engine.json"))
DRIFTS = sorted(path.parent for path in REFERENCE.glob("*/drift.json"))
ADAPTATIONS = sorted(path.parent for path in REFERENCE.glob("*/adaptation.json"))
LONGEST = {"spiral-ablation", "text-memory", "encoder-drift", "lora-adaptation"}
"""These take longer than all others; what they would show of sums those show as well."""


def name_of(folder):
    return folder.relative_to(REFERENCE).as_posix()


@pytest.mark.parametrize("folder", FOLDERS + PIECES + SUITES + ENGINES + DRIFTS + ADAPTATIONS, ids=name_of)
def test_a_reference_report_follows_from_its_raw_files(folder):
    """Each table cell, each figure's values and both pages, recomputed; pieces of a suite apart from its overview."""
    assert verify(folder, pieces=False) == []


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(one, marks=[pytest.mark.soak] * (one.name in LONGEST))
        for one in FOLDERS + ENGINES + DRIFTS + ADAPTATIONS
    ],
    ids=name_of,
)
def test_a_reference_report_follows_on_another_processor_too(folder):
    """A BLAS that sums in the order of a processor of 2004 changes last bits, and not one digit that is shown."""
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "verify", str(folder)]
    old = {**os.environ, "OPENBLAS_CORETYPE": "Prescott"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=old)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ENGINES + DRIFTS + ADAPTATIONS, ids=name_of)
def test_a_deep_check_of_what_compares_no_indexes_is_refused(folder):
    """It would look as if the data had been consulted."""
    with pytest.raises(InvalidInput, match="is no comparison of indexes, of which alone --deep computes"):
        verify(folder, deep=True)


@pytest.mark.parametrize("folder", FOLDERS + PIECES, ids=name_of)
def test_a_reference_report_is_whole_and_of_a_decent_size(folder):
    """Complete, 1,000 test queries, at least 3 build seeds and 5 rounds, at most an hour's work; and its size.

    Beyond 200,000 vectors, whose builds take minutes each, one build seed and 3 rounds are enough.
    Seven contestants take up to 15 MB; fifteen, as beside other libraries, or two dozen, up to 20.
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


@pytest.mark.parametrize("folder", ENGINES, ids=name_of)
def test_a_reference_report_on_the_engine_is_whole_and_of_the_experiment_of_its_name(folder):
    """Every piece, of what experiments/NAME.toml measures today, within an hour; at most 15 MB."""
    from adamem.bench import read, validate
    from adamem.bench.engine import EngineExperiment, EngineFolder

    source = REFERENCE.parents[1] / "experiments" / f"{folder.name}.toml"
    experiment = validate(EngineExperiment, read(source), source=source.name).resolved()
    run = EngineFolder(folder).run()
    assert run.status == "complete"
    wording_only = {"title", "expected", "machine", "wall_minutes", "launch"}
    assert {key: run.config[key] for key in experiment.keys() - wording_only} == {
        key: experiment[key] for key in experiment.keys() - wording_only
    }
    assert sum(EngineFolder(folder).piece(name).wall_seconds for name in run.pieces) <= 3600
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 15 * 2**20


@pytest.mark.parametrize("folder", DRIFTS, ids=name_of)
def test_a_reference_report_on_drift_is_whole_and_of_the_experiment_of_its_name(folder):
    """Every piece, of what experiments/NAME.toml measures today, within an hour; at most 15 MB."""
    from adamem.bench import read, validate
    from adamem.bench.drift.config import DriftExperiment
    from adamem.bench.drift.records import DriftFolder

    source = REFERENCE.parents[1] / "experiments" / f"{folder.name}.toml"
    experiment = validate(DriftExperiment, read(source), source=source.name).resolved()
    run = DriftFolder(folder).run()
    assert run.status == "complete"
    wording_only = {"title", "expected", "machine", "wall_minutes", "launch"}
    assert {key: run.config[key] for key in experiment.keys() - wording_only} == {
        key: experiment[key] for key in experiment.keys() - wording_only
    }
    assert sum(DriftFolder(folder).piece(name).wall_seconds for name in run.pieces) <= 3600
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 15 * 2**20


@pytest.mark.parametrize("folder", ADAPTATIONS, ids=name_of)
def test_a_reference_report_on_adaptation_is_of_the_full_size_and_says_how_much_of_it(folder):
    """Of what experiments/NAME.toml measures today, at least two sets of real data; at most 20 MB."""
    from adamem.bench import read, validate
    from adamem.bench.adaptation.config import AdaptationExperiment
    from adamem.bench.adaptation.records import AdaptationFolder

    source = REFERENCE.parents[1] / "experiments" / f"{folder.name}.toml"
    experiment = validate(AdaptationExperiment, read(source), source=source.name).sized("full").resolved()
    run = AdaptationFolder(folder).run()
    wording_only = {"title", "expected", "machine", "wall_minutes", "launch"}
    assert {key: run.config[key] for key in experiment.keys() - wording_only} == {
        key: experiment[key] for key in experiment.keys() - wording_only
    }
    learnt = {tuple(name.split(".")) for name in run.pieces}
    assert len({key for key, _, arm in (one for one in learnt if len(one) == 3) if arm == "lora-replay"}) >= 2
    page = (folder / "report.md").read_text()
    if run.status != "complete":
        assert "This run is not complete. Of the 5 seeds that were planned it has: " in page.split("## One update")[0]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 20 * 2**20


def rows(name, table):
    """A table of a reference report as dictionaries."""
    with (REFERENCE / name / "tables" / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_said_of_an_encoder_that_has_learnt_is_what_its_report_says():
    """The figures in reports/README.md."""
    readme = " ".join((REFERENCE.parent / "README.md").read_text().split())
    views = {
        (row["set"], row["view"]): row
        for row in rows("encoder-drift", "views")
        if (row["drift"], row["measure"]) == ("lora", "recall@10")
    }
    facts = {view: float(row["value"]) for (key, view), row in views.items() if key == "koziev"}
    forms = {
        (row["view"], row["form"]): float(row["value"])
        for row in rows("encoder-drift", "forms")
        if (row["set"], row["measure"]) == ("koziev", "recall@10")
    }
    assert (
        f"of “which” {forms['before', 'which']:.3f} are found before and {forms['anew', 'which']:.3f} after, of "
        f"“whether” {forms['before', 'whether']:.3f} and {forms['anew', 'whether']:.3f}"
    ) in readme
    assert (
        f"recall@10 is {facts['before']:.3f}; after sixty steps of LoRA on other facts it is {facts['anew']:.3f}"
        in readme
    )
    assert f"New questions on the old vectors find {facts['stale']:.3f}" in readme
    bridges = {view: facts[view] for view in ("procrustes", "low-rank-affine", "mean-drift", "query-map")}
    assert max(bridges, key=bridges.__getitem__) == "mean-drift"
    assert f"the mean drift, finds {facts['mean-drift']:.3f}" in readme
    assert float(views["koziev", "low-rank-affine"]["to_stale_high"]) < 0
    assert float(views["medquad", "stale"]["to_anew_p"]) > 0.05
    split = [row for row in rows("encoder-drift", "split") if (row["set"], row["view"]) == ("koziev", "stale")]
    assert {row["index"] for row in split} == {"spiral", "hnsw", "faiss_pq"}
    assert max(float(row["index_part"]) for row in split if row["measure"] == "recall@10") < 0.005
    half = {
        row["way"]: float(row["relative"]) * facts["anew"]
        for row in rows("encoder-drift", "shares")
        if (row["set"], row["index"], row["share"]) == ("koziev", "exact", "0.5")
    }
    assert f"one index of both finds {half['mixed']:.3f}" in readme
    assert half["mixed"] < facts["stale"]
    assert f"merged by rank, finds {half['by-rank']:.3f}" in readme


def test_what_is_said_of_learning_is_what_its_report_says():
    """The figures in reports/README.md, of the arms and levels that they are said to be of."""
    readme = " ".join((REFERENCE.parent / "README.md").read_text().split())

    def row(table, **wanted):
        (found,) = [
            one
            for one in rows("lora-adaptation", table)
            if one["set"] == "koziev" and all(one[key] == value for key, value in wanted.items())
        ]
        return found

    def score(value):
        return f"{float(value):.3f}"

    def points(value):
        return wording.points(float(value))

    taught, others = (
        row("levels", arm="lora-replay", documents="anew", level=level) for level in ("wordings", "neighbours")
    )
    which, whether = (row("forms", arm="lora-replay", level="wordings", form=form) for form in ("which", "whether"))
    gained = {one["arm"]: one for one in rows("lora-adaptation", "gains") if one["set"] == "koziev"}
    kept = {
        (one["arm"], one["documents"]): score(one["recall@10"])
        for one in rows("lora-adaptation", "kept")
        if (one["set"], one["level"]) == ("koziev", "neighbours")
    }
    gates = {one["arm"]: one for one in rows("lora-adaptation", "gates") if one["set"] == "koziev"}
    learning = {
        one["arm"]: float(one["learning_seconds"]) for one in rows("lora-adaptation", "costs") if one["set"] == "koziev"
    }
    single = row("acquisition", facts_are="taught by one update", documents="anew", form="", moment="0")
    before = row("acquisition", facts_are="taught by one update", documents="anew", form="", moment="before")
    at_once, own = (
        row("acquisition", facts_are="taught − never taught", documents="anew", form="", moment=moment)
        for moment in ("0", "1000")
    )
    anew = [one for one in rows("lora-adaptation", "acquisition") if (one["documents"], one["form"]) == ("anew", "")]
    terms, renamed = (
        {one["moment"]: one for one in anew if (one["set"], one["facts_are"]) == (name, "taught by one update")}
        for name in ("invented", "invented-renamed")
    )
    ten = [
        one
        for one in anew
        if one["set"].endswith(", 10 steps") and one["facts_are"].startswith("taught −") and one["moment"] == "0"
    ]
    first = {
        one["arm"]: float(one["difference"])
        for one in rows("lora-adaptation", "levels")
        if (one["set"], one["level"], one["documents"]) == ("koziev", "neighbours", "anew")
    }
    random = row("levels", arm="random", documents="anew", level="wordings")
    banking = {one["arm"]: one for one in rows("lora-adaptation", "gains") if one["set"] == "banking"}
    (own_hits,) = [
        one
        for one in rows("lora-adaptation", "levels")
        if (one["set"], one["arm"], one["level"], one["documents"]) == ("banking", "own-hits", "neighbours", "anew")
    ]
    medquad, mapped = (
        one
        for arm in ("lora-replay", "query-only")
        for one in rows("lora-adaptation", "gains")
        if (one["set"], one["arm"]) == ("medquad", arm)
    )

    def change(of, what, unit=""):
        low, high = (points(of[f"{what}_{end}"]) for end in ("low", "high"))
        return f"{points(of[f'{what}_difference'])}{unit} [{low}, {high}]"

    def among_ten(name, level):
        wanted = (name, "lora-replay", level, "anew")
        (found,) = [
            one["recall@10_before"]
            for one in rows("lora-adaptation", "levels")
            if (one["set"], one["arm"], one["level"], one["documents"]) == wanted
        ]
        return score(found)

    replay = gained["lora-replay"]
    between = [replay[f"general_first_{end}"] for end in ("low", "high")]
    assert taught["seeds"] == "5"
    for said in (
        f"take recall@10 from {score(taught['recall@10_before'])} to {score(taught['recall@10_after'])} for what was "
        f"taught, and from {score(others['recall@10_before'])} to {score(others['recall@10_after'])} for facts that "
        "never were",
        f"“which” goes from {score(which['before'])} to {score(which['after'])}, “whether” from "
        f"{score(whether['before'])} to {score(whether['after'])}",
        f"of {int(replay['general_questions']):,} English questions, which find their answer among ten, none loses it; "
        f"recall@1 changes by {points(replay['general_first_difference'])} points "
        f"[{points(between[0])}, {points(between[1])}]",
        f"Of {single['facts']} Russian facts (three seeds), each learnt by one step of its own, "
        f"{score(single['recall@1'])} are found first right after it, and {score(before['recall@1'])} were just "
        f"before: none of them changed, so at most {wording.percent(float(at_once['changed_share_high']))} do (95 %)",
        f"{points(own['since_before'])} points more than facts that were never taught "
        f"[{points(own['since_before_low'])}, {points(own['since_before_high'])}]",
        f"Of {terms['0']['facts']} facts about made-up terms (one seed) {score(terms['0']['recall@1'])} are found "
        "first just before and right after their step; where documents speak of each term under another made-up name, "
        f"which only the lessons tie to it, {score(renamed['before']['recall@1'])} are just before, "
        f"{score(renamed['0']['recall@1'])} right after, and {score(renamed['1000']['recall@1'])} a thousand updates "
        "later",
        f"a LoRA in batches gains {points(first['lora'])} points of recall@1 at level b, and "
        f"{points(first['lora-steps'])} with a step for every update, which takes three times as long to learn; rank 4 "
        f"gains {points(first['lora-4'])}, rank 64 {points(first['lora-64'])}, the whole encoder "
        f"{points(first['full-tuning'])}",
        f"a LoRA of the queries alone finds {kept['lora-queries', 'anew']}, not told apart from a LoRA of both on the "
        f"old vectors ({kept['lora', 'stale']}) or over the mean drift ({kept['lora', 'bridged']}). A map of the "
        f"queries' vectors finds {kept['query-only', 'anew']}",
        f"shuffled pairs lose {-100 * float(gained['shuffled']['wordings_difference']):.1f} points of recall@10 at "
        "level a; random adapters, moved as far as by LoRA, "
        f"{-100 * float(gained['random']['wordings_difference']):.1f} on average, by seed anything from "
        f"{points(random['least_of_seeds'])} to {points(random['most_of_seeds'])} points",
        f"refused {gates['shuffled-gated']['refused']} of {gates['shuffled-gated']['updates']} updates of shuffled "
        f"pairs there and {gates['lora-gated']['refused']} of {gates['lora-gated']['updates']} of true ones, and costs "
        f"{-100 * float(gates['lora-gated']['wordings_saved']):.2f} points",
        f"it gains {100 * float(gained['own-hits']['neighbours_difference']):.1f} points of recall@10 at level b; on "
        f"BANKING77 it loses {-100 * float(own_hits['difference']):.2f} points of recall@1",
        f"rank 64 loses it {-100 * float(banking['lora-64']['general_first_difference']):.2f} points of recall@1 (one",
        f"On MedQuAD it finds {among_ten('medquad', 'wordings')} at level a and "
        f"{among_ten('medquad', 'neighbours')} at level b among ten to begin with; the same LoRA (three seeds) gains "
        f"{change(medquad, 'wordings', ' points')} and {change(medquad, 'neighbours')}, while recall@1 of the general "
        f"set changes by {change(medquad, 'general_first')}. A query map gains {change(mapped, 'wordings')} at level a",
        f"On BANKING77, of which it finds {among_ten('banking', 'wordings')} and "
        f"{among_ten('banking', 'neighbours')}, no arm is shown to gain anything at recall@10 (six arms of three "
        "seeds, ten of one), and recall@1 of the general set changes by "
        f"{change(banking['lora-replay'], 'general_first')}",
    ):
        assert said in readme, said
    assert at_once["taught_facts_changed"] == "0"
    assert float(replay["general_difference"]) == 0
    true_pairs = gained.keys() - {"random", "shuffled", "shuffled-gated"}
    assert not any(float(gained[arm]["general_first_high"] or 0) < 0 for arm in true_pairs)
    assert not any(float(gained[arm]["general_high"] or 0) < 0 for arm in true_pairs)
    assert float(own["since_before_low"]) < 0 < float(own["since_before_high"])
    assert terms["before"]["recall@1"] == terms["0"]["recall@1"]
    assert len(ten) == 2
    later = [
        one
        for one in rows("lora-adaptation", "acquisition")
        if one["set"].endswith(", 10 steps") and one["facts_are"].startswith("taught −") and not one["form"]
    ]
    assert sum(float(one["since_before_low"] or 0) > 0 for one in later) == 2
    assert all(float(one["since_before_low"]) <= 0 for one in ten)
    assert 2.5 < learning["lora-steps"] / learning["lora"] < 3.5
    for arm, documents in (("lora-queries", "anew"), ("lora", "stale"), ("lora", "bridged")):
        left = row("levels", arm=arm, documents=documents, level="neighbours")
        assert 0.28 < float(left["difference"]) / first["lora"] < 0.38
        ten_found = [float(one[f"recall@10_{when}"]) for one in (left, others) for when in ("before", "after")]
        assert 0.45 < (ten_found[1] - ten_found[0]) / (ten_found[3] - ten_found[2]) < 0.55
    for documents in ("stale", "bridged"):
        apart = row("kept", arm="lora", documents=documents, level="neighbours")
        assert float(apart["low"]) < 0 < float(apart["high"])
    assert len(banking) == 16
    assert not any(
        float(one[f"{level}_low"] or 0) > 0 for one in banking.values() for level in ("wordings", "neighbours")
    )
    assert float(own_hits["high"]) < 0
    assert float(banking["lora-64"]["general_first_high"]) < 0
    assert [medquad["seeds"], mapped["seeds"]] == ["3", "3"]
    assert sorted(one["seeds"] for one in banking.values()) == ["1"] * 10 + ["3"] * 6
    assert float(mapped["general_difference"]) == float(mapped["general_first_difference"]) == 0


def test_what_is_said_of_an_engine_that_serves_is_what_its_report_says():
    """What an update costs, in reports/README.md."""
    readme = " ".join((REFERENCE.parent / "README.md").read_text().split())
    updates = {(one["how"], one["pairs"], one["standing"]): one for one in rows("lora-adaptation", "serving_updates")}
    ratios = {one["how"]: one for one in rows("lora-adaptation", "serving") if one["beside"] == "ratio"}
    costs = {one["how"]: one for one in rows("lora-adaptation", "serving_costs")}
    lora, mapped = served(gather(REFERENCE / "lora-adaptation"))
    facts = {one["how"]: one for one in rows("lora-adaptation", "serving_facts")}
    words = {2: "two", 3: "three", 1: "one", 6: "six", 10: "ten", 16: "sixteen"}

    def spent(how, pairs, what="p50"):
        return wording.seconds(float(updates[how, pairs, "taken"][f"{what}_seconds"]))

    def told(how, what, places):
        return f"{1e3 * float(costs[how][f'{what}_seconds']):.{places}f}"

    def beside(how):
        times, low, high = (wording.number(float(ratios[how][what])) for what in ("p99_ratio", "low", "high"))
        return f"{times} [{low}, {high}]"

    refused = {
        how: sum(
            int(one["updates"]) for (of, _, standing), one in updates.items() if (of, standing) == (how, "refused")
        )
        for how in ratios
    }
    new = {
        how: [
            words[number]
            for number in (
                int(one["facts"]) - int(one["before"]), int(one["not_before_and_taken"]), int(one["right_after"]),
            )
        ]
        for how, one in facts.items()
    }  # fmt: skip
    longest = [float(took) for window in ("one", "batch") for took in lora.longest(window, "taken")]
    for said in (
        f"an update of a LoRA by one pair is in use after {spent('lora', '1')} (median; "
        f"{spent('lora', '1', 'embedding')} of them embed the memories anew), by 32 pairs after "
        f"{spent('lora', '32')}; one of a query map after {spent('query-map', '1')} and {spent('query-map', '32')}",
        f"take {beside('lora')} times as long beside the LoRA's updates as when idle, and {beside('query-map')} "
        "beside the map's",
        f"To embed a query takes {told('lora', 'overhead', 1)} ms more by the LoRA and "
        f"{told('query-map', 'overhead', 1)} ms by the map, of {told('lora', 'plain', 1)} and "
        f"{told('query-map', 'plain', 1)} ms",
        f"refused {refused['lora']} and {refused['query-map']} of 40 updates",
        f"the longest search beside each update of the LoRA that was taken took from {wording.seconds(min(longest))} "
        f"to {wording.seconds(max(longest))}",
        f"Of {new['lora'][0]} new facts that were not found first before, the LoRA's gate took {new['lora'][1]}, and "
        f"{new['lora'][2]} of them came first right after; of the map's {new['query-map'][0]} it took "
        f"{new['query-map'][1]}, and {new['query-map'][2]} did",
    ):
        assert said in readme, said
    assert {how: sum(int(one["updates"]) for (of, *_), one in updates.items() if of == how) for how in ratios} == {
        "lora": 40,
        "query-map": 40,
    }
    exam = updates["query-map", "1", "taken"]
    assert float(exam["exam_seconds"]) > float(exam["p50_seconds"]) / 2
    assert all(float(ratios[how]["high"]) < 2 for how in ratios)
    assert [f"{max(pace.spread for pace in one.paces):.1f}" for one in (lora, mapped)] == ["1.6", "1.5"]
    assert "3,970" in readme


def test_what_is_said_of_the_engine_is_what_its_report_says():
    """The figures in reports/README.md, and that nothing else is left out of what they say."""
    readme = " ".join((REFERENCE.parent / "README.md").read_text().split())
    both = {row["set"]: row for row in rows("engine-retrieval", "hybrid")}
    points = {key: 100 * float(row["tuned_difference"]) for key, row in both.items()}
    ahead = {key for key, row in both.items() if float(row["tuned_p_holm"]) < 0.05 and points[key] > 0}
    assert {"realmem", "strategyqa"} <= ahead
    assert (
        f"RealMem (+{points['realmem']:.2f} points of nDCG@10) and StrategyQA (+{points['strategyqa']:.2f})" in readme
    )
    assert f"On MedQuAD (+{points['medquad']:.2f})" in readme
    assert not {"medquad", "facts-ru", "rumeddanet"} & ahead
    assert min(points.values()) > -1
    plain = {key: 100 * float(row["hybrid_difference"]) for key, row in both.items()}
    assert {key for key, change in plain.items() if change < -1} == {"medquad", "facts-ru", "rumeddanet", "ntrex"}
    under = {(row["set"], row["contestant"]): row for row in rows("engine-retrieval", "underneath")}
    lost = {key: -100 * float(row["vector_difference"] or 0) for key, row in under.items()}
    medquad = {name: lost["medquad", name] for name in ("spiral", "hnsw", "faiss-pq")}
    assert f"finds {float(under['medquad', 'spiral']['same']):.3f} of what exact search finds" in readme
    assert f"costs {medquad['spiral']:.2f} points of nDCG@10 (hnswlib {medquad['hnsw']:.2f}, FAISS-PQ" in readme
    assert f"FAISS-PQ {medquad['faiss-pq']:.2f})" in readme
    assert max(points for (key, _), points in lost.items() if key != "medquad") < 0.3
    answers = {row["embedded"]: row for row in rows("engine-retrieval", "answers")}
    gained = 100 * (float(answers["both"]["reworded_mrr"]) - float(answers["answer"]["reworded_mrr"]))
    assert f"(+{gained:.2f} points of MRR@10)" in readme


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
    assert all(row["best"].startswith("spiral") and row["other_outcome"] == "ahead" for row in lead.values())
    assert f"Its build takes {float(ours['build_seconds_ratio']):.2f} of hnswlib's time (M = 16)" in readme
    assert f"the index {wording.number(float(ours['bytes_ratio']))} times hnswlib's bytes" in readme
    peaks = {row["contestant"]: float(row["peak_bytes"]) for row in rows("spiral-vs-peers/text-questions", "start")}
    assert (
        f"while it is built {wording.number(peaks['spiral'] / peaks['hnsw'])} times those of hnswlib's best" in readme
    )
    for said, key in (
        ("0.90, 0.95 and 0.99 it is", "text-questions"),
        ("Asked in passages it is", "text-passages"),
        ("on Fashion-MNIST", "fashion-mnist"),
    ):
        others = rows(f"spiral-vs-peers/{key}", "lead")
        ratios = [f"{row['other_bound']}{wording.number(float(row['other_ratio']))}" for row in others]
        assert f"{said} {ratios[0]}, {ratios[1]} and {ratios[2]} times" in readme
    low, *others = rows("spiral-vs-peers/facts-ru", "lead")
    assert (low["other"], low["other_outcome"]) == ("faiss-ivfpq-fs", "ahead")
    assert all((row["other"], row["other_outcome"]) == ("faiss-ivfpq-fs", "level") for row in others)
    ratio = wording.number(float(low["other_ratio"]))
    assert f"it is {ratio} times FAISS's inverted file at 0.90, and not told apart from it at 0.95 and 0.99" in readme


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
            sign = "≥" if row["qps_status"] == "exceeds" else ""
            told = interval(row, what).replace(" [", "× [")
            cells.append(wording.number(float(row[what])) if what == "qps" else f"{sign}{told}")
        return f"| {label} | {' | '.join(cells)} |"

    assert line("SpiralGraph, QPS", "spiral", "qps") in text
    assert line("to hnswlib, M = 16, ef_construction = 200", "spiral", "qps_ratio") in text
    assert line("hnswlib's best build to the same", "hnsw", "qps_ratio") in text
    assert line("hnswlib's best build on huge pages to the same", "hnsw-huge-pages", "qps_ratio") in text
    assert line("the next library, SVS's Vamana, to the same", "svs-vamana", "qps_ratio") in text
    assert line("p50 of single queries, to hnswlib's", "spiral", "p50_ratio") in text
    assert line("p99 of single queries, to hnswlib's", "spiral", "p99_ratio") in text


PEERS = {
    "text-questions": "text, questions",
    "text-passages": "text, passages",
    "fashion-mnist": "images",
    "text-lsa": "text, latent semantics",
    "facts-ru": "Russian facts",
}
"""Pieces of spiral-vs-peers, and what reports/README.md calls them."""
LEVEL = {("facts-ru", "0.95"), ("facts-ru", "0.99")}
"""Where the fastest of the other libraries is not told apart from SpiralGraph, as reports/README.md says."""


@pytest.mark.parametrize("key", PEERS)
def test_the_tables_of_all_sets_quote_their_reports(key):
    """Who is fastest, by how much, and at what price; and SpiralGraph is the fastest on all of them, or level."""
    text = (REFERENCE.parent / "README.md").read_text()
    for line in (*speeds_told(key), costs_told(key)):
        assert line in text
    for row in rows(f"spiral-vs-peers/{key}", "lead"):
        assert row["best"].startswith("spiral")
        assert row["other_outcome"] == ("level" if (key, row["target_recall"]) in LEVEL else "ahead")


def speeds_told(key):
    """A line a target: the fastest's speed, how many times as fast as the better hnswlib, and as the next library."""
    duels = {(row["target_recall"], row["rival"]): row for row in rows(f"spiral-vs-peers/{key}", "duels")}
    for row in rows(f"spiral-vs-peers/{key}", "lead"):
        target = row["target_recall"]
        both = [duels[target, name] for name in ("hnsw", "hnsw-huge-pages") if (target, name) in duels]
        hnsw = min(both, key=lambda one: float(one["qps_times"]))
        where = " lean" if row["best"] == "spiral-lean" else ""
        cells = [PEERS[key], f"{float(target):.2f}", f"{wording.number(float(row['best_qps']))}{where}"]
        cells += [f"{hnsw[f'{what}_bound']}{interval(hnsw, f'{what}_times')}" for what in ("qps", "p50", "p99")]
        cells.append(f"{row['other_bound']}{interval(row, 'other_ratio')} {row['other']}")
        yield f"| {' | '.join(cells)} |"


def costs_told(key):
    """Build time, bytes and bytes at the peak, to hnswlib's (of two, the one that held less), and the most recall."""
    found = {row["contestant"]: row for row in rows(f"spiral-vs-peers/{key}", "headline")}
    peaks = {row["contestant"]: float(row["peak_bytes"]) for row in rows(f"spiral-vs-peers/{key}", "start")}
    reach = {row["contestant"]: row["best_recall"] for row in rows(f"spiral-vs-peers/{key}", "sweep")}
    cells = [PEERS[key], interval(found["spiral"], "build_seconds_ratio")]
    cells.append(wording.number(float(found["spiral"]["bytes_ratio"])))
    least = min(peak for one, peak in peaks.items() if one.startswith("hnsw"))
    cells += [wording.number(peaks[one] / least) if one in peaks else "" for one in ("spiral", "spiral-lean")]
    return f"| {' | '.join([*cells, wording.score(float(reach['spiral']))])} |"


def test_what_is_said_of_memory_and_of_task_quality_quotes_the_report():
    """In reports/README.md: what processes hold on text asked in questions, and what the graphs lose of nDCG@10."""
    text = " ".join((REFERENCE.parent / "README.md").read_text().split())
    found = {
        (row["contestant"], row["target_recall"]): row for row in rows("spiral-vs-peers/text-questions", "headline")
    }
    held = {row["contestant"]: float(row["resident_bytes"]) for row in rows("spiral-vs-peers/text-questions", "start")}
    one, lean = (wording.number(held[name] / held["hnsw"]) for name in ("spiral", "spiral-lean"))
    assert f"{one} times as much as with hnswlib's best build, with the vectors in a mapped file {lean} times" in text
    assert f"({wording.number(float(found['spiral-lean', '0.9']['qps']))} queries a second)" in text
    ndcg = {
        (row["contestant"], target): float(row["ndcg"])
        for row in rows("spiral-vs-peers/text-questions", "task-quality")
        for target in row["target_recall"].split(" and ")
    }
    exact = ndcg["exact", "any"]
    mine, other = (exact - ndcg[name, "0.95"] for name in ("spiral", "hnsw"))
    assert f"for 0.95 it loses {mine:.3f} and hnswlib {other:.3f}" in text
    assert f"the last of all, by {ndcg['hnsw', '0.99'] - ndcg['spiral', '0.99']:.3f} behind hnswlib" in text
    assert ndcg["spiral", "0.99"] == min(value for (_, target), value in ndcg.items() if target == "0.99")


def test_the_table_of_the_ablation_quotes_its_report():
    """What each replaced part costs: estimates counted, and speed to that of the whole."""
    text = (REFERENCE.parent / "README.md").read_text()
    counted = {row["contestant"]: row for row in rows("spiral-ablation", "counted") if row["target_recall"] == "0.9"}
    found = {(row["contestant"], row["target_recall"]): row for row in rows("spiral-ablation", "headline")}
    for name in counted:
        cells = [name, wording.number(float(counted[name]["distances"]))]
        for target in ("0.95", "0.97"):
            row = found[name, target]
            sign = "≤" if row["qps_status"] == "exceeds" else ""
            cells.append("1" if name == "recursive spiral" else f"{sign}{interval(row, 'qps_ratio')}")
        if name.startswith("no graph"):
            continue  # whatever the recall, it scans all codes: its figures are told in words
        assert f"| {' | '.join(cells)} |" in text


def test_the_table_of_growing_sizes_quotes_its_report():
    """Who is fastest at each size, and how far ahead of the best of the other indexes, or level with it."""
    text = (REFERENCE.parent / "README.md").read_text()
    for line in growth_told():
        assert line in text
    words = " ".join(text.split())

    def times(key, rival, what, target):
        """How many times as fast as the rival SpiralGraph is, whichever of the two was the faster in one call."""
        for row in rows(f"scaling/{key}", "duels"):
            if row["target_recall"] == target and {row["best"], row["rival"]} == {"spiral", rival}:
                found = float(row[f"{what}_times"])
                return found if row["best"] == "spiral" else 1 / found
        raise AssertionError((key, rival, target))

    def listed(values, digits):
        told = [f"{value:.{digits}f}" for value in values]
        return f"{', '.join(told[:-1])} and {told[-1]}"

    sizes, targets = ("10k", "30k", "100k", "300k", "1m"), ("0.9", "0.95", "0.99")
    huge = listed([times(key, "hnsw-huge-pages", "qps", "0.95") for key in sizes], 1)
    assert f"At 0.95 it is {huge} times as fast as hnswlib on huge pages" in words
    held = []
    for key in sizes:
        peaks = {row["contestant"]: float(row["peak_bytes"]) for row in rows(f"scaling/{key}", "start")}
        held.append(peaks["spiral"] / min(peak for one, peak in peaks.items() if one.startswith("hnsw")))
    assert f"SpiralGraph's process held {listed(held, 2)} times what hnswlib's held at most" in words
    ratios = {
        row["dataset"]: float(row["build_ratio"])
        for row in rows("scaling", "costs")
        if row["contestant"] == "spiral" and row["target_recall"] == "0.95"
    }
    builds = listed([ratios[key] for key in sizes], 2)
    assert f"its build takes {builds} of the time of hnswlib's." in words
    medians, tails = (
        listed([times("1m", "faiss-ivfpq-fs", what, target) for target in targets], 1) for what in ("p50", "p99")
    )
    assert (
        f"median query is {medians} times as fast as the inverted file's, its 99th percentile {tails} times." in words
    )
    speeds = {
        (row["dataset"], row["contestant"]): float(row["qps"])
        for row in rows("scaling", "speed")
        if row["target_recall"] == "0.95" and row["qps"]
    }
    shares = [round(speeds["10k", one] / speeds["1m", one]) for one in ("spiral", "hnsw", "faiss-ivfpq-fs")]
    assert shares == [8, 7, 4]  # to an eighth, a seventh and a quarter


def growth_told():
    """A line a size and target."""
    sizes = {row["dataset"]: int(row["n"]) for row in rows("scaling", "costs")}
    for row in rows("scaling", "lead"):
        cells = [f"{sizes[row['dataset']]:,}", f"{float(row['target_recall']):.2f}"]
        cells.append(f"{wording.number(float(row['best_qps']))} {row['best']}")
        level = ", not told apart" if row["other_outcome"] == "level" else ""
        cells.append(f"{row['other_bound']}{interval(row, 'other_ratio')} {row['other']}{level}")
        yield f"| {' | '.join(cells)} |"


def interval(row, what):
    """A figure and its interval, if it has one: what was measured once has none."""
    value, low, high = (wording.number(float(row[f"{what}{end}"] or "nan")) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]" if row[f"{what}_low"] else value


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
