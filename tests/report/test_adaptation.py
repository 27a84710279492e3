"""The report on adaptation, on runs whose arrays were made by hand: what it says follows from them, whole or not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats as scipy_stats

from adamem import report
from adamem.bench import machine, validate
from adamem.bench.adaptation.arms import ARMS
from adamem.bench.adaptation.config import AdaptationExperiment
from adamem.bench.adaptation.records import FORMAT, AdaptationFolder
from adamem.bench.paired import Paired, paired
from adamem.bench.pieces import Piece, PiecesRun
from adamem.bench.records import Fitness
from adamem.errors import CorruptResult
from adamem.report import wording
from adamem.report.adaptation import acquisition, compose, controls, distinct, forms, gains, tables
from adamem.report.adaptation.covered import covered, part
from adamem.report.adaptation.gates import gates, refusals
from adamem.report.adaptation.gathered import Stream, gather
from adamem.report.adaptation.instead import instead
from adamem.report.adaptation.kept import kept
from adamem.report.adaptation.retention import retention
from adamem.report.figures import acquired, price, reembedded, stream
from adamem.report.figures.style import looks
from adamem.report.verify import is_part, verify

DOCUMENTS = 40
NOW = datetime.now(UTC).isoformat(timespec="seconds")


def made(
    path, *, sets, arms, seeds=2, tasks=3, questions=20, general=30, found=None, lost=(), busy=(), acquisition=(),
    same=False, forms=("",), single=None, own_steps=(1,), elsewhere=(),
):  # fmt: skip
    """Write a run into `path`: of each set and seed `questions` of either level a task, and `general` of level c.

    `found(key, arm, stage, level, task, number, seed)` is the rank of a question's answer, from 0, or None beyond the
    tenth; `lost` are pieces that were not measured, `busy` those measured beside other work,
    `elsewhere` on another machine. With `same` every seed asks the very same questions; those of levels a and b take
    the `forms` in turns; `single(seed)` are the arrays of single updates.
    """
    size = {"sets": list(sets), "arms": list(arms), "seeds": seeds}
    if acquisition:
        size["acquisition"] = {"sets": list(acquisition), "probes": 5, "further": [2], "own_steps": list(own_steps)}
    config = {"name": "made", "title": "A made run", "study": "adaptation", "default": size}
    experiment = validate(AdaptationExperiment, config, source="test")
    folder = AdaptationFolder(path)
    there = []

    def put(name, arrays, facts):
        if name not in lost:
            there.append(name)
            write(folder, name, arrays, facts, busy=name in busy, on="n" if name in elsewhere else "m")

    for key in sets:
        for seed in range(seeds):
            asked = asked_of(tasks, questions, general, forms, 0 if same else seed)
            put(f"{key}.{seed}.questions", asked, facts_of(tasks))
            for arm in arms:
                put(f"{key}.{seed}.{arm}", stream_of(key, arm, seed, asked, tasks, found or (lambda *_: 0)), {})
    for key in acquisition:
        for seed in range(seeds):
            for steps in own_steps:
                put(f"acquisition.{key}.{seed}.{steps}", (single or single_of)(seed), facts_of(tasks))
    folder.write_run(
        PiecesRun(
            format=FORMAT,
            adamem="0",
            name="made",
            title="A made run",
            study="adaptation",
            config=experiment.resolved(),
            machine={**machine.describe(), "fingerprint": "m"},
            others=[{**machine.describe(), "fingerprint": "n", "cpu_family": "of another"}] if elsewhere else [],
            versions={},
            started=NOW,
            finished=None if lost else NOW,
            status="incomplete" if lost else "complete",
            pieces=there,
            absent={},
        )
    )
    return path


def write(folder, name, arrays, facts, busy, on):
    notes = ["other processes used 40% of the CPU time"] if busy else []
    fitness = Fitness(load_before=0.1, steal=0.0, foreign=0.4 if busy else 0.0, notes=notes)
    facts = facts or {"documents": DOCUMENTS, "questions": 1}
    piece = Piece(
        format=FORMAT, name=name, key=name, spec={}, facts=facts, started=NOW, wall_seconds=1.0,
        machine=on, fitness=fitness, arrays="",
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


def asked_of(tasks, questions, general, forms=("",), seed=0):
    level = [level for _ in range(tasks) for level in (0, 1) for _ in range(questions)] + [2] * general
    task = [task for task in range(tasks) for _ in range(2 * questions)] + [-1] * general
    count = len(level)
    document = [n % DOCUMENTS + (DOCUMENTS if level[n] == 2 else 0) for n in range(count)]
    return {
        "level": np.array(level, dtype=np.int8),
        "task": np.array(task, dtype=np.int16),
        "key": np.arange(count, dtype=np.int64) + 10**6 * seed,
        "group": np.arange(count, dtype=np.int64) + 10**6 * seed,
        "form": np.array([forms[n % len(forms)] if level[n] < 2 else "" for n in range(count)]),
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
    moves = arm not in {"none", "query-only", "lora-queries"}
    count = np.array(after)
    spent = 1.0 + sum(map(ord, arm)) % 17
    arrays = {
        "anew": rows,
        "alarms": np.ones((len(after), 5)),
        "after": count.astype(np.int16),
        "steps": 10 * count,
        "nbytes": 1000 * (count > 0),
        "learning_seconds": spent * count * (1.0 + seed),
        "embedding_seconds": np.where(count > 0, 2.0 * moves, 0.0),
    }
    if moves and after[-1] == tasks:
        arrays["mixed"] = np.stack([at(0), at(0), at(1), at(tasks), at(tasks)])[:, :, 0]
    if moves:
        arrays |= dict.fromkeys(("stale", "bridged"), rows[-1])
    if arm.endswith("gated"):
        refused = np.array([False, *(arm.startswith("shuffled") for _ in range(tasks))])
        arrays |= {
            "refused": refused,
            "marks": np.array([(np.nan, np.nan), *((0.5, 0.2 if no else 0.6) for no in refused[1:])]),
            "examined": np.array([0, *(12 * (n + 1) for n in range(tasks))], dtype=np.int32),
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
        "key": np.arange(10, dtype=np.int64) + 10**6 * seed,
        "group": np.arange(10, dtype=np.int64) + 10**6 * seed,
        "form": np.array([""] * 10),
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
    assert said.endswith("koziev and banking, by “query map”. The same on each of them: “query map”.")


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
    test = Paired(100, (low + high) / 2, low, high, 0.5, 0.1, 0.1, 0.1)
    assert gains.verdict(test) == said
    # By two measures the worse one counts.
    well, badly = (Paired(100, where, where - 0.005, where + 0.005, 0.5, 0.1, 0.1, 0.1) for where in (0.0, -0.02))
    assert gains.verdict(well, test) == gains.verdict(test, well) == said
    assert gains.verdict(badly, test) == gains.verdict(test, badly) == "lost"


def test_ways_without_embedding_anew_stand_side_by_side(tmp_path):
    """Old vectors asked by LoRA, over a bridge or not, against one of queries alone; what moves nothing has one way."""

    def found_by(key, arm, stage, level, task, number, seed):
        left = {"lora-queries": 0.5, "query-only": 0.4, "lora": 0.8}.get(arm, 0.3)
        return 0 if share(left if stage else 0.3, number) else None

    path = made(tmp_path, sets=["koziev"], arms=["none", "lora", "query-only", "lora-queries"], found=found_by)
    table = kept(gather(path))
    told = {(r["arm"], r["documents"]): r for r in table.records if r["level"] == "neighbours"}
    assert set(told) == {("query-only", "anew"), ("lora-queries", "anew"), ("lora", "stale"), ("lora", "bridged")}
    assert told["lora", "stale"]["recall@10"] == pytest.approx(0.8)
    assert told["lora", "stale"]["difference"] == pytest.approx(0.3)
    assert told["query-only", "anew"]["difference"] == pytest.approx(-0.1)
    assert told["query-only", "anew"]["high"] < 0 < told["lora", "bridged"]["low"]
    assert told["lora-queries", "anew"]["difference"] is None


def test_a_loss_at_the_first_place_alone_is_a_loss(tmp_path):
    """What is found second instead of first is still among ten: recall@10 stays, and the arm is not named."""

    def second(key, arm, stage, level, task, number, seed):
        if level == 2:
            return 1 if arm == "lora" and stage and number % 10 == 0 else 0
        return 0 if stage else None

    found = gather(made(tmp_path, sets=["koziev"], arms=["none", "lora"], general=400, found=second))
    told = record_of(gains.gains(found), arm="lora")
    assert told["general_difference"] == 0
    assert told["general_first_difference"] == pytest.approx(-0.1)
    assert told["general_set"] == "lost"
    assert gains.claim(found).startswith("Not on the one real set measured there is an arm")


def test_a_gain_among_many_arms_has_to_be_the_larger(tmp_path):
    """Six questions of forty gained have p = 2^-5 at one level of one arm, which ten comparisons make chance."""

    def lucky(key, arm, stage, level, task, number, seed):
        gained = arm == "lora" and level == 1 and number < 3 and seed == 0
        return 0 if level == 2 or number % 2 or (stage and gained) or (stage and arm == "lora-64") else None

    arms = ["none", "lora", "lora-4", "lora-64", "lora-replay", "query-only"]
    made_of = {"sets": ["koziev"], "seeds": 2, "general": 400, "found": lucky}
    found = gather(made(tmp_path, arms=arms, **made_of))
    assert record_of(gains.gains(found), arm="lora")["neighbours_low"] > 0
    assert gains.claim(found).endswith("koziev, by “LoRA of rank 64”.")


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
    assert said.startswith("On none of the 2 real sets measured")
    assert said.endswith("On koziev an arm gains, and the general set's questions do not decide its loss.")
    only = gather(made(tmp_path / "only", sets=["invented"], arms=arms, seeds=1, found=lucky))
    assert gains.claim(only) == ""


def half_learnt(key, arm, stage, level, task, number, seed):
    """Half of level a is found first, and of the rest half more once it is learnt, at one question's cost in ten."""
    if level == 2:
        return 0
    before, moved = number % 2 == 0, number % 10 in (1, 3, 5)
    return 0 if (before and not (stage and number % 10 == 4)) or (stage and moved) else None


def test_the_same_questions_in_more_seeds_do_not_narrow_an_interval(tmp_path):
    """Four seeds that ask the very same, and find the same, tell what one does; four that ask others tell more."""
    told = {}
    for name, seeds, same in (("one", 1, True), ("tiled", 4, True), ("others", 4, False)):
        path = made(tmp_path / name, sets=["koziev"], arms=["none", "lora"], seeds=seeds, same=same, found=half_learnt)
        found = gather(path)
        told[name] = record_of(tables.levels(found), arm="lora", level="wordings", documents="anew")
        assert record_of(tables.sets(found), set="koziev")["asked_wordings"] == 60 * seeds
    same = ("questions", "difference", "low", "high", "after", "after_low", "after_high", "p", "effect")
    assert [told["tiled"][name] for name in same] == [told["one"][name] for name in same]
    assert (told["tiled"]["questions"], told["others"]["questions"]) == (60, 240)
    assert told["others"]["high"] - told["others"]["low"] < 0.7 * (told["one"]["high"] - told["one"]["low"])


def test_a_question_of_several_seeds_is_its_mean_over_them(tmp_path):
    """Asked by both seeds and found in one it is a half, so a set of them is wide of neither 0 nor 1."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], same=True, found=lambda *a: 0 if a[-1] else None)
    arm = gather(path).sets[0].arms["lora"]
    assert set(arm.pooled(0, -1).tolist()) == {0.5}
    assert arm.along(0).tolist() == [0.5] * 4
    assert distinct.means_by_key(np.array([1.0, 0, 0, 1]), np.array([7, 3, 7, 7])).tolist() == [0, 2 / 3]


def test_where_all_is_equal_there_is_an_exact_interval_or_none(tmp_path):
    """A share of all or none has Clopper and Pearson's interval, as scipy has it; no difference has a count alone."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], seeds=1, general=30, found=half_learnt)
    found = gather(path)
    told = record_of(tables.levels(found), arm="lora", level="general", documents="anew")
    exact = scipy_stats.binomtest(30, 30).proportion_ci(method="exact")
    assert (told["after_low"], told["after_high"]) == pytest.approx((exact.low, exact.high))
    assert (told["low"], told["high"], told["difference"]) == (None, None, 0)
    assert tables.levels(found).groups[0].rows[1][3].detail == "none of 30 differs"
    for hits, count in ((0, 12), (7, 20), (20, 20)):
        exact = scipy_stats.binomtest(hits, count).proportion_ci(method="exact")
        assert distinct.exact_interval(hits / count, count) == pytest.approx((exact.low, exact.high))
    mixed = distinct.share(np.array([0.0, 1, 1, 0, 1] * 10), np.arange(50))
    assert 0.4 < mixed.low < mixed.value < mixed.high < 0.8
    assert record_of(gains.gains(found), arm="lora")["general_set"] == "not decided"


def test_questions_about_one_thing_are_resampled_together(tmp_path):
    """Ten questions about each of five things narrow no interval: it is that of the five, and so is the test."""
    rng = np.random.default_rng(0)
    things = np.array([1.0, 0, 1, 0, 0])
    values, groups = np.repeat(things, 10), np.repeat(np.arange(5), 10)
    few, grouped, apart = (
        distinct.share(*one) for one in ((things, np.arange(5)), (values, groups), (values, np.arange(50)))
    )
    assert grouped == few
    assert grouped.high - grouped.low > 2 * (apart.high - apart.low)
    told, tenfold = paired(np.zeros(5), things), paired(np.zeros(50), values, groups=groups)
    assert (tenfold.low, tenfold.high, tenfold.p_value) == (told.low, told.high, told.p_value)
    assert (tenfold.queries, tenfold.difference, tenfold.better) == (50, told.difference, told.better)
    # Groups of several sizes: every question counts once in the mean, and a group is drawn as a whole.
    sizes = rng.integers(1, 9, 40)
    groups = np.repeat(np.arange(40), sizes)
    values = np.repeat(rng.random(40) < 0.5, sizes).astype(float)
    test = paired(np.zeros(values.size), values, groups=groups)
    assert test.difference == pytest.approx(values.mean())
    drawn = [rng.integers(40, size=40) for _ in range(4000)]
    by_hand = [np.concatenate([values[groups == one] for one in some]).mean() for some in drawn[:600]]
    assert (test.low, test.high) == pytest.approx(np.percentile(by_hand, (2.5, 97.5)), abs=0.05)
    # In a run: all questions of each seed about one of two things.
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], seeds=2, found=half_learnt)
    before = record_of(tables.levels(gather(path)), arm="lora", level="neighbours", documents="anew")
    for seed in range(2):
        folder, name = AdaptationFolder(path), f"koziev.{seed}.questions"
        arrays = folder.arrays(name)
        arrays["group"] = np.where(arrays["level"] < 2, arrays["key"] % 2, arrays["key"])
        folder.write(folder.piece(name), arrays)
    after = record_of(tables.levels(gather(path)), arm="lora", level="neighbours", documents="anew")
    assert after["after"] == before["after"]
    assert after["after_high"] - after["after_low"] > before["after_high"] - before["after_low"]


@pytest.mark.parametrize(("count", "said"), [(30, "not decided"), (367, "not decided"), (368, "loses at most 1 point")])
def test_no_loss_among_few_questions_decides_nothing(count, said):
    """None lost of 368 rules out a loss of a point (1 − 0.025^(1/368) < 0.01), none of 367 does not."""
    assert gains.verdict(paired(np.ones(count), np.ones(count))) == said


def test_forms_are_told_apart(tmp_path):
    """“which” goes from nothing to all, “whether” stays: the whole gain is of the one form, in table and answer."""

    def easy_or_hard(key, arm, stage, level, task, number, seed):
        return 0 if level == 2 or number % 2 == 0 or stage > task else None

    path = made(tmp_path, sets=["koziev", "banking"], arms=["none", "lora"], forms=("whether", "which"), same=True,
                found=easy_or_hard)  # fmt: skip
    found = gather(path)
    for level in ("wordings", "neighbours"):
        hard = record_of(forms.forms(found), set="koziev", arm="lora", level=level, form="which")
        easy = record_of(forms.forms(found), set="koziev", arm="lora", level=level, form="whether")
        assert (hard["before"], hard["after"], hard["questions"]) == (0, 1, 30)
        assert (easy["before"], easy["after"], easy["low"]) == (1, 1, None)
    said = forms.sentence(found.sets[0].lead)
    assert said.startswith("Of the +50.00 points of level a, +50.00 come from the form “which”, which has an ")
    assert "(0 to 1" not in said
    assert "(0.000 to 1.000) and +0.00 come from the form “whether”" in said
    assert any(
        said in told for block in compose.compose(found).sections[0].blocks for told in getattr(block, "items", ())
    )
    none = gather(made(tmp_path / "none", sets=["banking"], arms=["none", "lora"], seeds=1))
    assert forms.forms(none) is None
    assert forms.sentence(none.sets[0].lead) == ""


def test_free_paraphrase_is_not_claimed_of_koziev(tmp_path):
    """Where level a asks in the other of two known forms, the table and the method say so; elsewhere they do not."""
    for key in ("koziev", "banking"):
        found = gather(made(tmp_path / key, sets=[key], arms=["none", "lora"], seeds=1))
        method = next(one for one in compose.compose(found).sections if one.key == "method").blocks[0].items
        for text in (tables.levels(found).notes[0], " ".join(method)):
            assert ("not in free paraphrase" in text) == (key == "koziev")


def test_controls_have_two_verdicts(tmp_path):
    """Not above the untouched encoder, and at chance or not: shuffled pairs that keep a tenth are above it."""

    def controlled(key, arm, stage, level, task, number, seed):
        if not stage:
            return 0 if share(0.5, number) else None
        left = {"shuffled": 0.1 if key == "koziev" else 0.0, "random": 0.5, "lora": 0.9}.get(arm, 0.5)
        return 0 if share(left, number) else None

    arms = ["none", "lora", "random", "shuffled"]
    path = made(tmp_path, sets=["koziev", "banking"], arms=arms, found=controlled)
    found = gather(path)
    table = controls.controls(found)
    koziev, banking = (record_of(table, set=key, arm="shuffled") for key in ("koziev", "banking"))
    assert (koziev["not_above_untouched"], koziev["at_chance"]) == (True, False)
    assert (banking["not_above_untouched"], banking["at_chance"]) == (True, True)
    assert koziev["chance"] == pytest.approx(1 / DOCUMENTS)
    random = record_of(table, set="koziev", arm="random")
    assert random["general_difference"] == 0
    assert random["document_cosine"] == random["document_cosine_beside"] == 1
    said = controls.sentence(found)
    assert said.startswith(
        "Controls are not shown to find more than the untouched encoder (level a, recall@1): “random, as far as LoRA”"
    )
    assert "koziev still above chance (0.100 against 0.025); banking at chance (0.000 against 0.025)." in said
    lucky = gather(made(tmp_path / "lucky", sets=["koziev"], arms=["none", "lora", "shuffled"],
                        found=lambda *a: 0 if a[2] else None))  # fmt: skip
    assert controls.sentence(lucky).startswith("A control helps where it must not: LoRA of shuffled pairs")
    assert controls.controls(lucky).groups[0].rows[0][-1].text.startswith("fails: above the untouched encoder; still ")


def test_chance_is_that_of_the_questions_asked(tmp_path):
    """Two answers to one of three questions among ten documents: a mean of 4 / 30."""
    asked = {"level": np.zeros(3), "query": np.array([0, 0, 1, 2]), "documents": np.array([10, 15])}
    assert Stream(0, None, {}, asked).chance(0).mean() == pytest.approx(4 / 30)
    asked["level"] = np.full(3, 2)
    assert Stream(0, None, {}, asked).chance(2).mean() == pytest.approx(4 / 15)


def test_a_general_set_that_is_hardly_found_is_flagged(tmp_path):
    """Below three tenths untouched it can hardly show a loss: said in the table, the gains and the answer."""
    for found_first, weak in ((0.25, True), (0.35, False)):
        path = made(tmp_path / str(weak), sets=["koziev"], arms=["none", "lora"], general=40,
                    found=lambda *a, part=found_first: 0 if a[3] < 2 or share(part, a[5]) else None)  # fmt: skip
        found = gather(path)
        assert found.sets[0].can_hardly_lose == weak
        assert ("can hardly show a loss" in tables.levels(found).groups[0].rows[0][3].detail) == weak
        assert record_of(gains.gains(found), arm="lora")["general_can_hardly_lose"] == weak
        assert any("can hardly show a loss" in said for said in compose.answer(found)) == weak


def test_the_protocols_measures_stand_in_the_csv(tmp_path):
    """An answer in the third place: not at 1, among 5 and 10, and a third by MRR; before and after."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], seeds=1, found=lambda *a: 6 - 4 * bool(a[2]))
    told = record_of(tables.levels(gather(path)), arm="lora", level="wordings", documents="anew")
    got = [
        told[f"{name}_{when}"]
        for when in ("before", "after")
        for name in ("recall@1", "recall@5", "recall@10", "mrr@10")
    ]
    assert got == pytest.approx([0, 0, 1, 1 / 7, 0, 1, 1, 1 / 3])
    assert told["ndcg@10_after"] == pytest.approx(0.5)
    assert told["all@10_after"] == told["fraction@5_after"] == 1


def test_a_run_without_groups_is_refused(tmp_path):
    """Of what was measured before questions had groups no interval can be told: it says so."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], seeds=1)
    record = json.loads((path / "adaptation.json").read_text())
    (path / "adaptation.json").write_text(json.dumps(record | {"format": 1}))
    with pytest.raises(CorruptResult, match=r"before questions had groups .* run it again"):
        gather(path)


def taught_of(seed, *, same=True, twice=False):
    """Of five taught facts four are found right after their update and two in the end; of five others one each.

    One more of the others is found all the time.
    """
    arrays = single_of(0 if same else seed)
    ranks = np.full((9, 10), 3, dtype=np.int32)
    for fact in range(10):
        first = fact % 5
        right, last = (fact < 4, fact < 2) if fact < 5 else (fact == 5, fact == 5)
        ranks[first + 1 :, fact] = 1 if right else 3
        ranks[first + 3 :, fact] = 1 if last else 3
    ranks[:, 6] = 1
    arrays |= {"anew": ranks, "stale": ranks}
    if twice:  # the last taught fact is asked for twice more, in vain
        arrays["fact"] = np.append(arrays["fact"], [4, 4]).astype(np.int16)
        arrays["key"] = np.append(arrays["key"], arrays["key"][4] + np.array([50, 51]))
        arrays["group"] = np.append(arrays["group"], arrays["group"][[4, 4]])
        arrays["form"] = np.append(arrays["form"], ["", ""])
        arrays |= {view: np.concatenate([ranks, ranks[:, [4, 4]]], axis=1) for view in ("anew", "stale")}
    return arrays


def test_the_claim_is_what_an_update_does_beyond_the_stream(tmp_path):
    """Four of five against one of five is 60 points, in the table and the answer's first sentence; later 20."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora"], acquisition=["koziev"],
                single=lambda seed: taught_of(seed, same=False))  # fmt: skip
    found = gather(path)
    (one,) = found.acquired
    own, later = one.own("0"), one.own("2")
    assert (own.value, later.value) == pytest.approx((0.6, 0.2))
    rng = np.random.default_rng(0)
    taught, never = np.array([1.0, 1, 1, 1, 0] * 2), np.array([1.0, 0, 0, 0, 0] * 2)
    drawn = [rng.choice(taught, 10).mean() - rng.choice(never, 10).mean() for _ in range(4000)]
    assert (own.low, own.high) == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.07)
    assert later.low < 0 < later.high
    told = record_of(acquisition.acquisition(found), facts_are="taught − never taught", documents="anew", moment="0")
    assert (told["since_before"], told["since_before_low"]) == pytest.approx((0.6, own.low))
    assert told["least_of_seeds"] == told["most_of_seeds"] == pytest.approx(0.6)
    head, _, said, more, *_ = compose.answer(found)
    assert head == (
        "That an encoder which learns online by LoRA knows a new concept at once is shown on the one stream of "
        "single updates (“koziev”): there a fact comes first more often right after its own update than before, beside "
        "facts that were never taught."
    )
    assert said.startswith(
        "On koziev (en) a single update of one step moves its own fact towards the front: right after it, the share of "
        "facts"
    )
    assert "has changed by +60.00 points [" in said
    assert "when 2 more updates have followed by +20.00 points [" in said
    assert said.endswith("], not told apart from none.")
    assert more.startswith(
        "Of 10 facts of koziev, each learnt once, 0 % were found first just before their update and 80 "
    )


def test_taught_facts_are_drawn_beside_others_over_the_same_documents(tmp_path):
    """Either side has a line for documents embedded anew and one for those as they were, with the table's figures."""
    found = gather(made(tmp_path, sets=["koziev"], arms=["none"], acquisition=["koziev"], single=taught_of))
    figure = acquired.data(found)
    lines = {(r["taught"], r["documents"]) for r in figure.records}
    assert lines == {(taught, view) for taught in (True, False) for view in ("anew", "stale")}
    for r in figure.records:
        wanted = {"facts_are": acquisition.SIDES[r["taught"]], "documents": r["documents"], "moment": r["moment"]}
        assert r["recall@1"] == pytest.approx(record_of(acquisition.acquisition(found), **wanted)["recall@1"], abs=1e-6)
    assert acquired.draw(figure.records, {})[1].startswith(b"\x89PNG")


@pytest.mark.parametrize("turned", [False, True])
def test_that_no_fact_changed_has_a_bound(tmp_path, turned):
    """Of ten facts none changed: at most 31 % do. One that two questions change either way did change."""

    def unmoved(seed):
        arrays = taught_of(seed, same=False)
        ranks = np.ones_like(arrays["anew"])
        if turned:  # each fact has two questions, of which one is won and the other lost
            for name in ("fact", "key", "group", "form"):
                arrays[name] = np.concatenate([arrays[name]] * 2)
            arrays["key"][10:] += 1000
            ranks = np.concatenate([ranks, ranks], axis=1)
            for fact in range(5):
                ranks[: fact + 1, fact] = ranks[fact + 1 :, fact + 10] = 3
        return arrays | {"anew": ranks, "stale": ranks}

    found = gather(made(tmp_path, sets=["koziev"], arms=["none"], acquisition=["koziev"], single=unmoved))
    (one,) = found.acquired
    count = one.found("0", taught=True).size
    assert one.own("0").value == 0
    assert not np.isfinite(one.own("0").low)
    changed = count if turned else 0
    assert one.changed("0") == (changed, count)
    exact = scipy_stats.binomtest(changed, count).proportion_ci(method="exact")
    told = record_of(acquisition.acquisition(found), facts_are="taught − never taught", documents="anew", moment="0")
    assert (told["taught_facts_changed"], told["changed_share_high"]) == (changed, pytest.approx(exact.high))
    said = f"has changed by +0.00 points (none of {count} changed: at most {100 * exact.high:.0f} % do, 95 %)"
    head, told, *_ = compose.answer(found)
    assert (said in told) != turned
    assert "is not shown on the one stream of single updates" in head


def test_a_fact_counts_once(tmp_path):
    """However often it is asked for, in however many seeds, under whatever number: facts that share a question."""
    rng = np.random.default_rng(3)

    def again(seed):
        arrays = taught_of(0, twice=True)
        order = rng.permutation(5) if seed else np.arange(5)  # another seed numbers and teaches them otherwise
        arrays["fact"] = np.concatenate([order, order + 5])[arrays["fact"]].astype(np.int16)
        arrays["taught"] = arrays["taught"][np.argsort(order)]
        return arrays

    once = gather(made(tmp_path / "once", sets=["koziev"], arms=["none"], seeds=1, acquisition=["koziev"],
                       single=taught_of)).acquired[0]  # fmt: skip
    many = gather(made(tmp_path / "many", sets=["koziev"], arms=["none"], seeds=3, acquisition=["koziev"],
                       single=again)).acquired[0]  # fmt: skip
    assert many.found("0", taught=True).size == once.found("0", taught=True).size == 5
    assert many.estimate("0", taught=True) == once.estimate("0", taught=True)
    assert many.change("0", "before", taught=True) == once.change("0", "before", taught=True)
    assert many.own("0") == once.own("0")
    assert (once.questions(taught=True), many.questions(taught=True)) == (5, 7)


def test_single_updates_are_told_by_form(tmp_path):
    """Facts that are asked for in one form are found, in the other not; by form each has its own rows."""

    def formed(seed):
        return taught_of(seed) | {"form": np.array(["which", "whether", "which", "whether", "which"] * 2)}

    found = gather(made(tmp_path, sets=["koziev"], arms=["none"], acquisition=["koziev"], single=formed))
    wanted = {"facts_are": "taught by one update", "documents": "anew", "moment": "0"}
    table = acquisition.acquisition_forms(found)
    which, whether = (record_of(table, form=form, **wanted) for form in ("which", "whether"))
    assert (which["recall@1"], which["facts"]) == (pytest.approx(2 / 3), 3)
    assert (whether["recall@1"], whether["facts"]) == (1, 2)
    assert "(“whether” 100 % and “which” 67 %)" in compose.answer(found)[2]


def test_the_gate_is_told_by_what_it_refused_and_saved(tmp_path):
    """Refusals of all seeds, and the difference to the arm without a gate, on the seeds that both have."""

    def ruined(key, arm, stage, level, task, number, seed):
        return None if arm == "shuffled" and stage and (seed == 1 or share(0.5, number)) else 0

    arms = ["none", "lora", "shuffled", "lora-gated", "shuffled-gated"]
    whole = gather(made(tmp_path / "whole", sets=["koziev"], arms=arms, found=ruined))
    told = record_of(gates(whole), arm="shuffled-gated")
    assert (told["refused"], told["updates"]) == (6, 6)
    assert (told["least_examined"], told["most_examined"]) == (12, 36)
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
    busy = ["koziev.0.lora", "koziev.0.joint", "koziev.1.joint", "acquisition.koziev.1.1", "acquisition.banking.0.1"]
    path = made(
        tmp_path, sets=["koziev"], arms=["none", "lora", "query-only", "joint"],
        busy=[*busy, "acquisition.banking.1.1"], acquisition=["koziev", "banking"],
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
    updates = acquisition.updates(found)
    assert record_of(updates, set="koziev")["p50_seconds"] == pytest.approx(0.1)
    assert record_of(updates, set="koziev")["quiet_pieces"] == 1
    assert record_of(updates, set="banking")["updates"] == 14
    quiet = gather(made(tmp_path / "quiet", sets=["koziev"], arms=["none", "lora"], acquisition=["koziev"]))
    assert len(tables.costs(quiet).notes) == len(acquisition.updates(quiet).notes) == 1


def test_times_are_of_one_machine_in_a_set(tmp_path):
    """Of several, that of most of the set's pieces, though another was quieter; where there is no choice it is told."""
    alone = [f"koziev.{seed}.query-only" for seed in range(2)]
    single = [f"acquisition.banking.{seed}.1" for seed in range(2)]
    path = made(
        tmp_path, sets=["koziev"], arms=["none", "lora", "query-only", "joint", "random"], busy=["koziev.0.lora"],
        acquisition=["koziev", "banking"], elsewhere=["koziev.1.lora", *alone, *single],
    )  # fmt: skip
    found = gather(path)
    costs = tables.costs(found)
    lora = found.sets[0].arms["lora"]
    assert record_of(costs, arm="lora")["learning_seconds"] == lora.streams[0].arrays["learning_seconds"][-1]
    told = {record["arm"]: (row[-1].text, row[-1].detail)
            for record, row in zip(costs.records, costs.groups[0].rows, strict=True)}  # fmt: skip
    assert told["lora"] == ("1 of 2, none quiet*", "")
    assert told["query-only"] == ("2 of 2 pieces", "machine 2")
    assert told["joint"] == ("2 of 2 pieces", "")
    assert "not to be set beside another machine's" in costs.notes[0]
    updates = acquisition.updates(found)
    assert [row[-1].detail for row in updates.groups[0].rows] == ["", "machine 2"]
    report.write(path)
    written = (path / "report.md").read_text()
    assert "machine 2: cpu family | of another" in written
    assert "| koziev.1.lora | 1.00 s | 0 % | 0 % | quiet | 2 |" in written
    assert verify(path) == []
    cut = gather(made(tmp_path / "cut", sets=["koziev"], arms=["none", "lora"], lost=["koziev.1.none"],
                      elsewhere=["koziev.1.lora"]))  # fmt: skip
    cores = f"{machine.describe()['cores']} cores of {machine.describe()['cpu']}"
    family = machine.describe()["cpu_family"]
    told = f"That took 5.00 s: 4.00 s on {cores} (CPU family {family}), 1.00 s on "
    assert part(cut).endswith(f"{told}{cores} (CPU family of another). Run it again to go on.")
    forgotten = replace(cut, run=cut.run.model_copy(update={"others": []}))
    assert part(forgotten).endswith(f"{told}what was not recorded. Run it again to go on.")


LOST = [  # of banking's second seed the questions are there, and no answers
    *(f"banking.1.{arm}" for arm in ("none", "lora", "joint")), "banking.0.joint",
    *(f"medquad.{seed}.{what}" for seed in range(2) for what in ("questions", "none", "lora", "joint")),
    "acquisition.koziev.1.1", "acquisition.koziev.0.10", "acquisition.koziev.1.10",
]  # fmt: skip


def test_a_run_that_was_cut_off_says_which_part_it_is(tmp_path):
    """Every arm over the seeds that there are of it, sets without any left out, all of it said first and verified."""
    sets = ["koziev", "banking", "medquad"]
    path = made(tmp_path, sets=sets, arms=["none", "lora", "joint"], found=learnt, acquisition=["koziev"], lost=LOST,
                own_steps=(1, 10))  # fmt: skip
    found = gather(path)
    assert [one.key for one in found.sets] == ["koziev", "banking"]
    banking = found.sets[1]
    assert {name: len(arm.streams) for name, arm in banking.arms.items()} == {"none": 1, "lora": 1}
    assert len(banking.questions) == 1
    said = part(found)
    assert said == (
        "This run is not complete. Of the 2 seeds that were planned it has: koziev 2; banking 1 "
        "(“LoRA, all tasks at once” none); medquad none; single updates of koziev 1; "
        "single updates of koziev, 10 steps none. "
        f"That took {len(found.pieces)} s on {machine.describe()['cores']} cores of {machine.describe()['cpu']}. "
        "Run it again to go on."
    )
    table = covered(found)
    assert record_of(table, set="banking", arm="joint")["seeds"] == 0
    assert record_of(table, set="koziev", arm="single updates")["seeds"] == 1
    assert record_of(table, set="koziev, 10 steps", arm="single updates")["seeds"] == 0
    assert [cells[2].text for cells in table.groups[0].rows if "single" in cells[0].text] == ["", ""]
    first = compose.compose(found).sections[0]
    assert any(told.startswith(said) for block in first.blocks for told in getattr(block, "items", ()))
    report.write(path)
    assert said in (path / "report.md").read_text()
    assert verify(path) == []
    assert is_part(path)
    folder = AdaptationFolder(path)
    folder.write_run(folder.run().model_copy(update={"pieces": folder.run().pieces[:-1]}))
    assert any("report.md" in told for told in verify(path))


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


def test_an_arm_of_fewer_seeds_beats_nobody(tmp_path):
    """It is drawn, with its interval, and is not on the line, however good it looks."""
    path = made(tmp_path, sets=["koziev"], arms=["none", "lora", "query-only"], found=learnt, lost=["koziev.1.lora"])
    told = {r["arm"]: r for r in price.data(gather(path)).records}
    assert (told["lora"]["seeds"], told["query-only"]["seeds"]) == (1, 2)
    assert told["lora"]["gain_b_low"] > 0 == told["query-only"]["gain_b"]
    assert [told[arm]["front"] for arm in ("lora", "query-only")] == [False, True]


def test_what_to_do_is_told_for_each_set(gathered, tmp_path):
    """Who gains for certain and at what price, where the general set keeps; else to leave the encoder as it is."""
    said = instead(gathered)
    query = gathered.sets[0].arms["query-only"]
    seconds = np.mean([one.seconds_a_task for one in query.streams])
    gain = query.change(1, measure="recall@10")
    assert said.startswith(
        "What to do instead: on koziev, “query map”: recall@10 +0.00 points at level a, "
        f"{wording.points(gain.difference)} points [{wording.points(gain.low)}, {wording.points(gain.high)}] at level "
        f"b, for {wording.seconds(seconds)} a task; documents keep their vectors; on banking, “query map”"
    )

    def kept(key, arm, stage, level, task, number, seed):
        return learnt(key, "none" if level == 2 else arm, stage, level, task, number, seed)

    moved = instead(gather(made(tmp_path / "kept", sets=["koziev"], arms=["none", "lora"], general=300, found=kept)))
    assert "on koziev, “LoRA”: recall@10 +" in moved
    assert "all documents embedded anew" in moved
    few = instead(gather(made(tmp_path / "few", sets=["koziev"], arms=["none", "lora"], general=10, found=kept)))
    assert few == (
        "What to do instead: on koziev, leave the encoder as it is: whether the general set loses more than a point by "
        "an arm that gains is not decided."
    )
    nothing = gather(made(tmp_path / "none", sets=["koziev"], arms=["none", "lora"], found=lambda *_: 3))
    assert instead(nothing) == (
        "What to do instead: on koziev, leave the encoder as it is: no arm gains for certain while the general set "
        "loses at most a point."
    )
    assert instead(gather(made(tmp_path / "of none", sets=["koziev"], arms=["none"]))) == ""


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
