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
from adamem.bench.adaptation.serving import PARTS, WINDOWS, material_of
from adamem.errors import ConfigError, InvalidInput
from adamem.report.adaptation import serving
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
        assert (parts[busy][:, [PARTS.index("learning"), PARTS.index("exam")]] > 1_000_000).all()
        assert not parts[~busy].any()
        taken = busy & (windows[:, 4] == 1)
        assert (parts[taken, PARTS.index("embedding")] > 1_000_000).all() == ("lora" in name)
        begun = arrays["searches"][:, 0]
        assert all(((begun >= row[1]) & (begun < row[2])).sum() > 3 for row in windows)
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
    return serving.Served("lora", (SimpleNamespace(facts={"adapter_bytes": 12}),), (arrays,))


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
    assert one.in_use_seconds("one").tolist() == [19]
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


def test_facts_are_found_at_once_later_or_never():
    """The time begins when a fact is added, and what is never first is counted as such."""
    checks = [(0, 11, 1), (1, 21, 4), (1, 25, 0), (2, 31, 2), (1, 37, 1), (2, 38, 3), (0, 39, 2)]
    checks = [(fact, second * SECOND, rank) for fact, second, rank in checks]
    one = served([], [], checks, [10 * SECOND, 20 * SECOND, 30 * SECOND])
    assert one.first_seconds.tolist() == [0, 17, np.inf]
    (record,) = serving.facts([one]).records
    assert (record["at_once"], record["after_learning"], record["never"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert record["median_seconds"] == 17
    (costs,) = serving.costs([one]).records
    assert costs["overhead_seconds"] == pytest.approx(750e-9)
    assert (costs["serving_peak_bytes"], costs["learning_peak_bytes"]) == (9, 7)


def test_a_run_without_it_says_nothing_of_it():
    """No table, no sentence."""
    assert serving.sentences([]) == []
    assert serving.blocks([]) == (None, None, None, None)
