"""The study of adaptation, an engine that serves while it learns: what is recorded happened, and the report follows."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from adamem import report
from adamem.bench import validate
from adamem.bench.adaptation import Document, General, Lesson, Question, Task, TaskSequence, sequences
from adamem.bench.adaptation.config import AdaptationExperiment, ServingConfig
from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.adaptation.runner import run_adaptation
from adamem.bench.adaptation.serving import PARTS, STANDINGS, WINDOWS, material_of
from adamem.errors import ConfigError, InvalidInput
from adamem.report.adaptation import serving
from adamem.report.adaptation.served import Served
from adamem.report.verify import verify

CONFIG = {
    "set": "koziev",
    "memories": 40,
    "tasks": 2,
    "batches": 1,
    "batch": 6,
    "facts": 2,
    "golden": 3,
    "idle_seconds": 0.3,
    "timed": 3,
    "nice": 0,
}
PLACES = ["a bakery", "the ferry", "a library", "the zoo", "a vineyard", "the harbour", "a hospital", "the opera"]


class Quiet:
    """A reporter that says nothing."""

    def stage(self, what, total):
        pass

    now = advance = say = lambda self, *_: None


def drawers(**_):
    """Two tasks of sixteen facts each, eight taught and eight asked for at level b."""
    tasks, documents = [], []
    for town in ("Lisbon", "Oslo"):
        own = [Document(f"{town}{n}", f"{PLACES[n % 8]} of {town}, number {n}") for n in range(16)]
        taught = tuple(Lesson(f"Where is Brimolk {n} in {town}?", one.id, one.id) for n, one in enumerate(own[:8]))
        asked = tuple(Question(f"Brimolk {n} of {town} is at?", (one.id,), one.id) for n, one in enumerate(own[:8]))
        other = tuple(Question(f"What is number {n + 8} there?", (one.id,), one.id) for n, one in enumerate(own[8:]))
        tasks.append(Task(town, tuple(one.id for one in own), taught, asked, other))
        documents += own
    general = General("elsewhere", (Document("g", "The sea."),), (Question("What is wet?", ("g",), "g"),))
    return TaskSequence("drawers", "en", tuple(tasks), tuple(documents), general)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run of this part alone, with its report."""
    before = sequences.SEQUENCES["koziev"]
    sequences.SEQUENCES["koziev"] = drawers
    size = {"sets": ["koziev"], "arms": ["none"], "seeds": 1, "serving": CONFIG}
    tables = {"name": "small", "title": "It serves", "study": "adaptation", "default": size}
    learning = {"rank": 4, "alpha": 8, "batch": 8, "epochs": 1, "beside": 2, "threads": 1}
    experiment = validate(AdaptationExperiment, tables | {"learning": learning}, source="test")
    out = tmp_path_factory.mktemp("run") / "small"
    yield run_adaptation(experiment, out, only=("serving",), reporter=Quiet(), done=report.write)
    sequences.SEQUENCES["koziev"] = before


@pytest.mark.minilm
def test_an_engine_serves_while_it_learns(ran):
    """Both ways of learning: searches go on in each update, parts fit into it, and all follows from the raw files."""
    folder = AdaptationFolder(ran)
    assert folder.run().pieces == ["serving.lora.0", "serving.query-map.0"]
    for name in folder.run().pieces:
        arrays, facts = folder.arrays(name), folder.piece(name).facts
        windows = arrays["windows"]
        # Idle before each update, and after the last one.
        assert [WINDOWS[kind] for kind in windows[:, 0]] == ["idle", "batch", "idle", "one", "idle", "one", "idle"]
        assert windows[:, 3].tolist() == [0, 6, 0, 1, 0, 1, 0]
        assert (windows[1:, 1] >= windows[:-1, 2]).all()
        parts = windows[:, 5:]
        assert (parts.sum(axis=1) <= windows[:, 2] - windows[:, 1]).all()
        busy = windows[:, 0] > 0
        # The batch is learnt; where its exam of three questions refused it, the first pair has no other beside it, and
        # waits for the next.
        learnt = busy & (windows[:, 4] > 0)
        assert learnt[1]
        assert learnt[busy].all() or windows[1, 4] != STANDINGS.index("taken")
        assert (parts[learnt][:, [PARTS.index("learning"), PARTS.index("exam")]] > 1_000_000).all()
        assert not parts[~learnt].any()
        taken = busy & (windows[:, 4] == 1)
        assert (parts[taken, PARTS.index("embedding")] > 1_000_000).all() == ("lora" in name)
        begun = arrays["searches"][:, 0]
        assert all(((begun >= row[1]) & (begun < row[2])).sum() > 3 for row in windows[~busy | learnt])
        # Each fact is asked for when it is added and after each update from its own on.
        assert arrays["checks"][:, 0].tolist() == [0, 0, 1, 0, 1]
        assert (arrays["memory"][:, 1] > 50e6).all()
        assert arrays["memory"][:, 2].max() > 50e6
        assert facts["adapter_bytes"] > 10_000
        assert ("bridge_bytes" in facts) == ("lora" in name)
        assert np.median(arrays["map_ns"]) < np.median(arrays["plain_ns"])
        assert facts["memories"] == 30
    assert verify(ran) == []
    page = (ran / "report.md").read_text()
    assert "Searches meanwhile" in page
    assert "While a LoRA is learnt beside searches, the slowest hundredth" in page
    (ran / "tables" / "serving.csv").write_text("altered")
    assert any("serving.csv" in said for said in verify(ran))


def test_the_texts_are_apart():
    """No fact is among the memories, nor is its other wording taught, asked before, or golden."""
    config = ServingConfig(**CONFIG)
    material = material_of(drawers(), config, seed=3)
    assert len(material.memories) == 30
    for fact in material.facts:
        assert fact.text not in material.memories
        assert fact.asked not in material.questions
        assert fact.told not in [question for question, _ in material.lessons]
        assert fact.asked.split()[1] == fact.told.split()[3].rstrip("?")  # of one number
    texts = {question: material.memories[place] for question, place in material.lessons}
    assert all(text.endswith(f"number {question.split()[3]}") for question, text in texts.items())
    assert not {question for question, _ in material.golden} & set(texts)
    assert material_of(drawers(), config, seed=3) == material
    with pytest.raises(InvalidInput, match="has 16 facts, 0 lessons"):
        material_of(drawers(), ServingConfig(**CONFIG | {"facts": 17}), seed=3)
    with pytest.raises(ConfigError, match="expected one of koziev"):
        validate(ServingConfig, {"set": "nowhere"}, source="test")


def served(searches, windows, checks=(), added=()):
    """One piece of these rows."""
    arrays = {
        "searches": np.array(searches, np.int64).reshape(-1, 2),
        "windows": np.array(windows, np.int64).reshape(-1, 5 + len(PARTS)),
        "checks": np.array(checks, np.int64).reshape(-1, 3),
        "added": np.array(added, np.int64),
        "memory": np.array([[0, 5, 7], [1, 9, 2]], np.int64),
        **{name: np.array(values, np.int64) for name, values in
           (("plain_ns", [1000, 3000]), ("adapted_ns", [2000, 3500]), ("map_ns", [10, 10]))},
    }  # fmt: skip
    config = {"golden": 40, "threads": 1, "nice": 10}
    piece = SimpleNamespace(name="serving.lora.0", facts={"adapter_bytes": 12}, spec={"config": config})
    return Served("lora", (piece,), (arrays,))


SECOND = 10**9


def window(kind, begin, end, lessons=0, standing=0, **parts):
    """A row, of seconds."""
    spent = [parts.get(part, 0) * SECOND for part in PARTS]
    return [WINDOWS.index(kind), begin * SECOND, end * SECOND, lessons, standing, *spent]


def test_searches_are_told_apart_by_when_they_began():
    """An update learns, embeds, switches, in this order, and ends with what its parts took."""
    update = window("one", 10, 30, 1, 1, learning=5, exam=5, embedding=6, switching=2, clearing=1)
    windows = [window("idle", 0, 10), update, window("idle", 30, 40), window("idle", 40, 50)]
    one = served([[second * SECOND, second + 1] for second in range(50)], windows)
    found = {
        state: sorted(round(value * 1e9) - 1 for some in stretches for value in some)
        for state, stretches in one.stretches.items()
    }
    assert found == {
        "before": list(range(10)),
        "one": list(range(10, 21)),
        "batch": [],
        "embedding": list(range(21, 27)),
        "switching": list(range(27, 30)),
        "idle": list(range(30, 40)),
        "after": list(range(40, 50)),
    }
    assert one.seconds("one", "taken").tolist() == [19]
    assert [(idle.size, busy.size) for idle, busy in one.rounds] == [(10, 20)]
    assert one.standing("taken") == 1


@pytest.mark.parametrize(("slower", "said"), [(1, "within the 2×"), (2, "not told apart"), (5, "more than the 2×")])
def test_the_ratio_is_judged_by_its_interval(slower, said):
    """Searches that take as long, twice as long, five times as long beside an update."""
    rng = np.random.default_rng(0)
    searches, windows = [], []
    for turn in range(6):
        begin = 200 * turn
        windows += [window("idle", begin, begin + 100), window("one", begin + 100, begin + 200)]
        for second in range(200):
            spent = rng.integers(900, 1000) * (slower if second >= 100 else 1)
            searches.append([(begin + second) * SECOND, int(spent)])
    one = served(searches, windows)
    assert one.ratio.low <= one.ratio.value <= one.ratio.high
    assert one.ratio.value == pytest.approx(slower, rel=0.05)
    assert said in serving.sentences([one])[0]
    assert json.loads(json.dumps(dict(serving.latencies([one]).records[-1])))["p99_ratio"] == one.ratio.value


def test_what_the_gate_refuses_is_not_in_use():
    """Refused updates are shorter, since nothing is embedded for them: their times stand apart from the taken ones'."""
    spent = [(1, 40, 30), (1, 50, 36), (2, 10, 0), (2, 12, 0), (2, 14, 0)]
    windows = [
        window("one", 100 * turn, 100 * turn + seconds, 1, standing, embedding=embedding)
        for turn, (standing, seconds, embedding) in enumerate(spent)
    ]
    one = served([], windows)
    taken, refused = serving.updates([one]).records
    assert (taken["standing"], taken["updates"], taken["p50_seconds"], taken["embedding_seconds"]) == (
        "taken",
        2,
        45,
        33,
    )
    assert (refused["standing"], refused["updates"], refused["p50_seconds"]) == ("refused", 3, 12)
    said = serving.sentences([one])[0]
    assert "of 5 updates by one pair the gate refused 3, after 12.0 s (median), and took 2" in said
    assert "in use after 45.0 s (median)" in said


@pytest.mark.parametrize(("later", "flagged"), [(1.0, False), (1.2, False), (1.3, True), (2.0, True)])
def test_absolute_times_are_doubted_where_idle_searches_change_their_pace(later, flagged):
    """A piece is flagged where its idle stretches differ by more than a quarter, whatever updates did meanwhile."""
    searches, windows = [], []
    for turn in range(4):
        begin, pace = 20 * turn, 1 if turn < 2 else later
        windows += [window("idle", begin, begin + 10), window("one", begin + 10, begin + 20)]
        spent = [int(1_000_000 * pace * (3 if second >= 10 else 1)) for second in range(20)]
        searches += [[(begin + second) * SECOND, taken] for second, taken in enumerate(spent)]
    one = served(searches, windows)
    assert one.beside == pytest.approx(3)
    notes, said = " ".join(serving.latencies([one]).notes), serving.sentences([one])[0]
    doubt = f"its absolute times hold to a factor of {later:.2f} at best"
    assert (doubt in notes) == (doubt in said) == flagged
    assert ("did not keep their pace in serving.lora.0" in said) == flagged
    assert ("the median of its ratios is 3.00×" in notes) == flagged
    if flagged:
        pace = f"between 1.00 ms and {later:.2f} ms (1.00 ms in the first, {later:.2f} ms in the last)"
        assert pace in said


def test_facts_are_found_at_once_later_or_never():
    """The time begins when a fact is added, what is never first is counted as such, and so is whose update did it."""
    checks = [(0, 11, 1), (0, 19, 1), (1, 21, 4), (1, 25, 1), (2, 31, 2), (2, 33, 3), (3, 35, 9), (3, 36, 9)]
    checks += [(1, 37, 1), (2, 38, 1), (3, 39, 2)]
    checks = [(fact, second * SECOND, rank) for fact, second, rank in checks]
    windows = [window("one", 10 * turn, 10 * turn + 5, 1, 1 if turn < 3 else 2) for turn in range(1, 5)]
    one = served([], windows, checks, [10 * SECOND, 20 * SECOND, 30 * SECOND, 40 * SECOND])
    assert [fact.seconds for fact in one.facts] == [0, 5, 8, np.inf]
    (record,) = serving.facts([one]).records
    counts = ("before", "before_and_right_after", "right_after", "after_later_updates", "never")
    assert [record[name] for name in counts] == [1, 1, 1, 1, 1]
    assert record["not_before_and_taken"] == 1
    assert record["median_seconds"] == 8  # of 5, 8 and never
    said = serving.sentences([one])[0]
    assert "of 4 new facts 1 are found first in other words before their own update, and the same 1 of them" in said
    assert "of the other 3, 1 come first right after their own update (the gate took 1 of these 3)" in said
    assert "1 after later updates, 1 not by the end" in said
    (costs,) = serving.costs([one]).records
    assert costs["overhead_seconds"] == pytest.approx(750e-9)
    assert (costs["serving_peak_bytes"], costs["learning_peak_bytes"]) == (9, 7)


def test_the_search_that_an_update_holds_up_longest_is_told():
    """Of each update by itself, since a few that wait are no hundredth of all; idle searches are none of them."""
    windows = [window("idle", 0, 10)]
    windows += [window("one", 10 * turn, 10 * turn + 9, 1, standing) for turn, standing in ((1, 1), (2, 1), (3, 2))]
    searches = [(2, 9.0), (12, 0.2), (15, 0.5), (18, 0.1), (24, 0.3), (33, 0.05), (36, 0.02)]
    one = served([[begun * SECOND, int(took * SECOND)] for begun, took in searches], windows)
    assert one.longest("one", "taken") == pytest.approx([0.5, 0.3])
    taken, refused = serving.updates([one]).records
    assert (taken["longest_search_median_seconds"], taken["longest_search_seconds"]) == pytest.approx((0.4, 0.5))
    assert refused["longest_search_seconds"] == pytest.approx(0.05)
    said = serving.sentences([one])[0]
    assert "the longest search beside an update that was taken took from 300 ms to 500 ms, 400 ms at the median" in said
    assert "beside the others at most 50.0 ms" in said


def test_of_few_updates_the_most_is_told_and_what_a_slip_does():
    """Four values have no 95 %; and with few questions one that slips refuses what is learnt."""
    windows = [window("one", 100 * turn, 100 * turn + turn, 1, 2) for turn in range(1, 5)]
    few = serving.updates([served([], windows)])
    assert (few.groups[0].rows[0][3].text, few.groups[0].rows[0][3].detail) == ("4.00 s", "the most")
    windows = [window("one", 100 * turn, 100 * turn + turn, 1, 2) for turn in range(1, 21)]
    many = served([], windows)
    assert serving.updates([many]).groups[0].rows[0][3].detail == ""
    assert "with 1 thread at nice 10" in few.notes[0]
    assert "loses 0.0125, which is more: that alone refuses" in few.notes[0]
    many.pieces[0].spec["config"]["golden"] = 100
    assert serving.updates([many]).notes[0].endswith("from the first place to the second loses 0.005.")


def test_a_run_without_it_says_nothing_of_it():
    """No table, no sentence."""
    assert serving.sentences([]) == []
    assert serving.blocks([]) == (None, None, None, None)
