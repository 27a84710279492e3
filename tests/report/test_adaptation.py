"""The report on adaptation, on runs whose arrays were made by hand: what it says follows from them, whole or not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from adamem import report
from adamem.bench import machine, validate
from adamem.bench.adaptation.arms import ARMS
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.paired import Paired
from adamem.bench.pieces import Piece, PiecesRun
from adamem.bench.records import Fitness
from adamem.report.adaptation import compose, gains, tables
from adamem.report.adaptation.covered import covered, part
from adamem.report.adaptation.gates import gates, refusals
from adamem.report.adaptation.gathered import gather
from adamem.report.adaptation.retention import retention
from adamem.report.figures import price, reembedded, stream
from adamem.report.figures.style import looks
from adamem.report.verify import verify

DOCUMENTS = 40
NOW = datetime.now(UTC).isoformat(timespec="seconds")


def made(path, *, sets, arms, seeds=2, tasks=3, questions=20, general=30, found=None, lost=(), busy=(), acquisition=()):
    """Write a run into `path`: of each set and seed `questions` of either level a task, and `general` of level c.

    `found(key, arm, stage, level, task, number, seed)` is the rank of a question's answer, from 0, or None beyond the
    tenth; `lost` are pieces that were not measured, `busy` those measured beside other work.
    """
    size = {"sets": list(sets), "arms": list(arms), "seeds": seeds}
    if acquisition:
        size["acquisition"] = {"sets": list(acquisition), "probes": 5, "further": [2]}
    config = {"name": "made", "title": "A made run", "study": "adaptation", "default": size}
    experiment = validate(AdaptationExperiment, config, source="test")
    folder = AdaptationFolder(path)
    names, there = [], []
    for key in sets:
        for seed in range(seeds):
            asked = asked_of(tasks, questions, general)
            held = {"questions": asked}
            for arm in arms:
                held[arm] = stream_of(key, arm, seed, asked, tasks, found or (lambda *_: 0))
            for what, arrays in held.items():
                names.append(f"{key}.{seed}.{what}")
                if names[-1] not in lost:
                    there.append(names[-1])
                    write(folder, there[-1], arrays, facts_of(tasks) if what == "questions" else {}, there[-1] in busy)
    for key in acquisition:
        for seed in range(seeds):
            names.append(f"acquisition.{key}.{seed}")
            if names[-1] not in lost:
                there.append(names[-1])
                write(folder, there[-1], single_of(seed), facts_of(tasks), there[-1] in busy)
    folder.write_run(
        PiecesRun(
            format=1,
            adamem="0",
            name="made",
            title="A made run",
            study="adaptation",
            config=experiment.resolved(),
            machine=machine.describe(),
            versions={},
            started=NOW,
            finished=None if lost else NOW,
            status="incomplete" if lost else "complete",
            pieces=there,
            absent={},
        )
    )
    return path


def write(folder, name, arrays, facts, busy):
    notes = ["other processes used 40% of the CPU time"] if busy else []
    fitness = Fitness(load_before=0.1, steal=0.0, foreign=0.4 if busy else 0.0, notes=notes)
    facts = facts or {"documents": DOCUMENTS, "questions": 1}
    piece = Piece(
        format=1, name=name, key=name, spec={}, facts=facts, started=NOW, wall_seconds=1.0, machine="m",
        fitness=fitness, arrays="",
    )  # fmt: skip
    folder.write(piece, arrays)


def facts_of(tasks):
    return {
        "sequence": "made",
        "language": "en",
        "tasks": [f"task {n}" for n in range(tasks)],
        "lessons": [10] * tasks,
        "documents": DOCUMENTS,
        "general": "elsewhere",
        "general_documents": DOCUMENTS,
        "near_duplicates": 0,
    }


def asked_of(tasks, questions, general):
    level = [level for _ in range(tasks) for level in (0, 1) for _ in range(questions)] + [2] * general
    task = [task for task in range(tasks) for _ in range(2 * questions)] + [-1] * general
    count = len(level)
    document = [n % DOCUMENTS + (DOCUMENTS if level[n] == 2 else 0) for n in range(count)]
    return {
        "level": np.array(level, dtype=np.int8),
        "task": np.array(task, dtype=np.int16),
        "query": np.arange(count, dtype=np.int32),
        "document": np.array(document, dtype=np.int32),
        "documents": np.array([DOCUMENTS, 2 * DOCUMENTS], dtype=np.int32),
    }


def rows_of(asked, ranks):
    """Ten documents of each question, its answer at its rank."""
    out = []
    for answer, level, rank in zip(asked["document"].tolist(), asked["level"].tolist(), ranks, strict=True):
        first = DOCUMENTS if level == 2 else 0
        others = [first + n for n in range(DOCUMENTS) if first + n != answer][:10]
        out.append(others if rank is None else [*others[:rank], answer, *others[rank:9]])
    return np.array(out, dtype=np.int32)


def stream_of(key, arm, seed, asked, tasks, found):
    after = [0] if arm == "none" else [0, tasks] if arm == "joint" else list(range(tasks + 1))
    place = {}
    numbers = []
    for level, task in zip(asked["level"].tolist(), asked["task"].tolist(), strict=True):
        place[level, task] = place.get((level, task), -1) + 1
        numbers.append((level, task, place[level, task]))

    def at(stage):
        return rows_of(asked, [found(key, arm, stage, level, task, n, seed) for level, task, n in numbers])

    rows = np.stack([at(stage) for stage in after])
    moves = arm not in {"none", "query-only"}
    count = np.array(after)
    spent = 1.0 + sum(map(ord, arm)) % 17
    arrays = dict.fromkeys(("anew", "stale", "bridged"), rows) | {
        "alarms": np.ones((len(after), 5)),
        "after": count.astype(np.int16),
        "steps": 10 * count,
        "nbytes": 1000 * (count > 0),
        "learning_seconds": spent * count * (1.0 + seed),
        "embedding_seconds": np.where(count > 0, 2.0 * moves, 0.0),
    }
    if moves and after[-1] == tasks:
        arrays["mixed"] = np.stack([at(0), at(0), at(1), at(tasks), at(tasks)])
    if arm.endswith("gated"):
        refused = np.array([False, *(arm.startswith("shuffled") for _ in range(tasks))])
        arrays |= {
            "refused": refused,
            "marks": np.array([(np.nan, np.nan), *((0.5, 0.2 if no else 0.6) for no in refused[1:])]),
            "exam_seconds": np.array([0.0] + [0.5] * tasks),
        }
    return arrays


def single_of(seed):
    """Five facts taught at updates 0 to 4, five never; asked for once each, at every moment."""
    done = np.arange(9, dtype=np.int32)
    taught = np.arange(5, dtype=np.int32)
    ranks = np.full((9, 10), 3, dtype=np.int32)
    return {
        "anew": ranks,
        "stale": ranks,
        "done": done,
        "taught": taught,
        "fact": np.arange(10, dtype=np.int16),
        "update_ns": np.full(7, (seed + 1) * 10**8, dtype=np.int64),
        "pool": np.array([30], dtype=np.int32),
        "embedding_ns": np.array([1], dtype=np.int64),
    }


def record_of(table, **wanted):
    (found,) = [r for r in table.records if all(r[name] == value for name, value in wanted.items())]
    return found


def share(part_, number, of=20):
    """Whether a question is among the first `part_` of `of`."""
    return number % of < part_ * of


def learnt(key, arm, stage, level, task, number, seed):
    """LoRA finds 40 % at first, 80 % of a task just learnt, 60 % of one learnt before; of the general set 90 %, then
    80 %. The query map brings level b from 40 to 60 % among the first ten alone, and the general set stays."""
    if arm == "query-only":
        if level == 1 and stage and share(0.6, number) and not share(0.4, number):
            return 7
        return 0 if share(0.9 if level == 2 else 0.4, number) else None
    if level == 2:
        return 0 if share(0.8 if stage and arm == "lora" else 0.9, number) else None
    if arm != "lora" or stage <= task:
        return 0 if share(0.4, number) else None
    return 0 if share(0.8 if stage == task + 1 else 0.6, number) else None


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    path = tmp_path_factory.mktemp("made")
    return gather(
        made(path, sets=["koziev", "banking"], arms=["none", "lora", "query-only"], general=300, found=learnt)
    )


def test_the_first_task_is_followed_to_the_end(gathered):
    """Untouched, right after it was learnt, after the last task; in both tables, with intervals on what was lost."""
    for level, name in enumerate(("wordings", "neighbours")):
        told = record_of(retention(gathered), set="koziev", arm="lora", level=name, measure="recall@1")
        assert (told["untouched"], told["right_after"], told["after_the_last"]) == pytest.approx((0.4, 0.8, 0.6))
        assert told["since_right_after"] == pytest.approx(-0.2)
        assert told["since_right_after_low"] < -0.2 < told["since_right_after_high"] < 0
        assert told["since_untouched"] == pytest.approx(0.2)
        assert told["questions"] == 2 * 20, level
    told = record_of(retention(gathered), set="koziev", arm="query-only", level="neighbours", measure="recall@10")
    assert (told["untouched"], told["right_after"], told["after_the_last"]) == pytest.approx((0.4, 0.6, 0.6))
    told = record_of(retention(gathered), set="koziev", arm="query-only", level="neighbours", measure="recall@1")
    assert told["after_the_last"] == pytest.approx(0.4)
    told = record_of(tables.continual(gathered), set="koziev", arm="lora")
    assert (told["first_task"], told["first_task_kept"]) == pytest.approx((0.6, -0.2))


def test_an_arm_is_worth_it_where_it_gains_and_the_general_set_does_not_pay(gathered):
    """LoRA gains and has lost elsewhere; the query map gains among ten and costs nothing, so it is what is named."""
    table = gains.gains(gathered)
    lora = record_of(table, set="banking", arm="lora")
    assert lora["wordings_low"] > 0
    assert lora["general_difference"] == pytest.approx(-0.1)
    assert lora["general_set"] == "lost"
    query = record_of(table, set="banking", arm="query-only")
    assert query["wordings_difference"] == 0
    assert query["neighbours_difference"] == pytest.approx(0.2)
    assert query["general_set"] == "loses at most 1 point"
    assert query["general_questions"] == 600
    said = gains.claim(gathered)
    assert said.startswith("On 2 of 2 real sets measured an arm finds more at level a or b (recall@10")
    assert said.endswith("koziev, by query map; banking, by query map.")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.009, 0.01, "loses at most 1 point"),
        (-0.011, 0.01, "not decided"),
        (-0.03, -0.009, "not decided"),
        (-0.03, -0.011, "lost"),
    ],
)
def test_a_loss_of_a_point_is_ruled_out_by_an_interval_alone(low, high, said):
    """Above −1 point as a whole, below it as a whole, or not decided."""
    assert gains.verdict(Paired(100, (low + high) / 2, low, high, 0.5, 0.1, 0.1, 0.1)) == said


def test_a_claim_that_does_not_hold_is_said_so(tmp_path):
    """None where the general set pays or too few questions decide; made-up sets and controls never count."""
    arms = ["none", "lora", "shuffled"]

    def lucky(key, arm, stage, level, task, number, seed):
        # A control that gains for free, on every set; LoRA loses one general question of forty on koziev.
        if arm == "shuffled" or key == "invented":
            return 0 if level == 2 or stage else None
        if level == 2:
            return None if arm == "lora" and stage and (number == 0 or key == "medquad") else 0
        return 0 if stage else None

    sets = ["koziev", "medquad", "invented"]
    found = gather(made(tmp_path, sets=sets, arms=arms, seeds=1, general=40, found=lucky))
    said = gains.claim(found)
    assert said.startswith("On none of 2 real sets measured")
    assert said.endswith("On koziev an arm gains, and the general set's questions do not decide its loss.")
    only = gather(made(tmp_path / "only", sets=["invented"], arms=arms, seeds=1, found=lucky))
    assert gains.claim(only) == ""


def test_the_gate_is_told_by_what_it_refused_and_saved(tmp_path):
    """Refusals of all seeds, and the difference to the arm without a gate, on the seeds that both have."""

    def ruined(key, arm, stage, level, task, number, seed):
        return None if arm == "shuffled" and stage and (seed == 1 or share(0.5, number)) else 0

    arms = ["none", "lora", "shuffled", "lora-gated", "shuffled-gated"]
    whole = gather(made(tmp_path / "whole", sets=["koziev"], arms=arms, found=ruined))
    told = record_of(gates(whole), arm="shuffled-gated")
    assert (told["refused"], told["updates"]) == (6, 6)
    assert told["wordings_saved"] == pytest.approx(0.75)
    told = record_of(gates(whole), arm="lora-gated")
    assert (told["refused"], told["wordings_saved"]) == (0, 0)
    assert refusals(whole).startswith("The gate refused 0 of 6 updates of “LoRA behind a gate” and 6 of 6 ")
    part_ = gather(made(tmp_path / "part", sets=["koziev"], arms=arms, found=ruined, lost=["koziev.1.shuffled"]))
    told = record_of(gates(part_), arm="shuffled-gated")
    assert told["updates"] == 6
    assert told["wordings_saved"] == pytest.approx(0.5)


def test_times_are_those_of_quiet_pieces(tmp_path):
    """Of two seeds the quiet one counts; where none was, both do and the table says so; so with single updates."""
    busy = ["koziev.0.lora", "koziev.0.joint", "koziev.1.joint", "acquisition.koziev.1", "acquisition.banking.0"]
    path = made(
        tmp_path, sets=["koziev"], arms=["none", "lora", "query-only", "joint"],
        busy=[*busy, "acquisition.banking.1"], acquisition=["koziev", "banking"],
    )  # fmt: skip
    found = gather(path)
    costs = tables.costs(found)
    seconds = {
        name: [stream.arrays["learning_seconds"][-1] for stream in arm.streams]
        for name, arm in found.sets[0].arms.items()
    }
    for arm, quiet, expected in (
        ("lora", 1, seconds["lora"][1]),
        ("query-only", 2, np.mean(seconds["query-only"])),
        ("joint", 0, np.mean(seconds["joint"])),
    ):
        told = record_of(costs, arm=arm)
        assert (told["pieces"], told["quiet_pieces"]) == (2, quiet)
        assert told["learning_seconds"] == pytest.approx(expected)
    assert "none quiet*" in costs.groups[0].rows[-1][-1].text
    assert costs.notes[-1].startswith("* The machine was busy")
    updates = tables.updates(found)
    assert record_of(updates, set="koziev")["p50_seconds"] == pytest.approx(0.1)
    assert record_of(updates, set="koziev")["quiet_pieces"] == 1
    assert record_of(updates, set="banking")["updates"] == 14
    quiet = gather(made(tmp_path / "quiet", sets=["koziev"], arms=["none", "lora"], acquisition=["koziev"]))
    assert len(tables.costs(quiet).notes) == len(tables.updates(quiet).notes) == 1


LOST = [
    "banking.1.questions", *(f"banking.1.{arm}" for arm in ("none", "lora", "joint")), "banking.0.joint",
    *(f"medquad.{seed}.{what}" for seed in range(2) for what in ("questions", "none", "lora", "joint")),
    "acquisition.koziev.1",
]  # fmt: skip


def test_a_run_that_was_cut_off_says_which_part_it_is(tmp_path):
    """Every arm over the seeds that there are of it, sets without any left out, all of it said first and verified."""
    sets = ["koziev", "banking", "medquad"]
    path = made(tmp_path, sets=sets, arms=["none", "lora", "joint"], found=learnt, acquisition=["koziev"], lost=LOST)
    found = gather(path)
    assert [one.key for one in found.sets] == ["koziev", "banking"]
    banking = found.sets[1]
    assert {name: len(arm.streams) for name, arm in banking.arms.items()} == {"none": 1, "lora": 1}
    said = part(found)
    assert said == (
        "This run is not complete. Of the 2 seeds that were planned it has: koziev 2; banking 1 "
        "(“LoRA, all tasks at once” none); medquad none; single updates of koziev 1. Run it again to go on."
    )
    table = covered(found)
    assert record_of(table, set="banking", arm="joint")["seeds"] == 0
    assert record_of(table, set="koziev", arm="single updates")["seeds"] == 1
    first = compose.compose(found).sections[0]
    assert any(said in getattr(block, "text", "") for block in first.blocks)
    report.write(path)
    assert said in (path / "report.md").read_text()
    assert [told for told in verify(path) if "incomplete" not in told] == []


def test_arms_of_fewer_seeds_say_so(tmp_path):
    """In every table, and the untouched row is of all seeds that there are."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], seeds=3, found=learnt, lost=["koziev.2.lora"])
    found = gather(path)
    levels = tables.levels(found)
    assert record_of(levels, arm="lora", level="wordings", documents="anew")["seeds"] == 2
    assert levels.groups[0].rows[1][0].text == "LoRA (2 of 3 seeds)"
    assert len(found.sets[0].base.streams) == 3
    nothing = gather(made(tmp_path / "none", sets=["koziev"], arms=["none"], seeds=1,
                          lost=["koziev.0.questions", "koziev.0.none"]))  # fmt: skip
    assert compose.answer(nothing)[0].startswith("This run is not complete")


def test_a_point_is_on_the_front_where_no_other_beats_it(gathered):
    """Gains of level b by their price; controls and bounds are drawn and never on it."""
    told = {(r["set"], r["arm"]): r for r in price.data(gathered).records}
    lora, query = told["koziev", "lora"], told["koziev", "query-only"]
    assert lora["gain_b"] == pytest.approx((0.2 + 0.2 + 0.4) / 3, abs=1e-5)
    assert query["gain_b"] == 0
    streams = gathered.sets[0].arms["lora"].streams
    by_hand = [(s.arrays["learning_seconds"][-1] + 3 * 2.0) / 3 for s in streams]
    assert lora["seconds"] == pytest.approx(np.mean(by_hand), rel=1e-5)
    points = [(1.0, 0.1, "a"), (2.0, 0.05, "b"), (3.0, 0.2, "c"), (3.0, 0.15, "d")]
    assert price._front([{"seconds": s, "gain_b": g, "arm": arm} for s, g, arm in points]) == {"a", "c"}


def test_the_mixed_index_is_told_against_the_full_one(gathered):
    """Recall of each share over that of all documents, from the raw rows."""
    told = {r["share"]: r for r in reembedded.data(gathered).records if (r["set"], r["level"]) == ("koziev", "a")}
    assert [told[at]["of_full"] for at in (0.0, 0.1, 0.5, 0.9, 1.0)] == pytest.approx(
        [0.4 / (2 / 3), 0.4 / (2 / 3), (1.6 / 3) / (2 / 3), 1, 1]
    )
    assert {r["arm"] for r in reembedded.data(gathered).records} == {"lora"}


def test_figures_of_every_arm_can_be_drawn(tmp_path):
    """All arms on two sets of which one is cut short: each figure is a picture, its CSV has every arm."""
    lost = ["banking.0.joint", "banking.0.lora"]
    path = made(tmp_path, sets=["koziev", "banking"], arms=list(ARMS), tasks=2, questions=4, general=6, seeds=1,
                found=lambda *a: [0, 3, None][(a[2] + a[5]) % 3], lost=lost)  # fmt: skip
    found = gather(path)
    colours = looks(found.contestants)
    for module in (price, reembedded, stream):
        figure = module.data(found)
        svg, png = module.draw(figure.records, colours)
        assert svg.startswith(b"<?xml")
        assert png.startswith(b"\x89PNG")
    assert {r["arm"] for r in stream.data(found).records} == set(ARMS)
    assert {r["arm"] for r in price.data(found).records} == set(ARMS) - {"none"}
