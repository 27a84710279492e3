"""The study of adaptation: what it measures is what happened, it goes on where it was, and its report follows."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from adamem import report
from adamem.adapt import Pair
from adamem.bench import validate
from adamem.bench.adaptation import Sizes, drift
from adamem.bench.adaptation.acquisition import measure_acquisition, planned, pooled
from adamem.bench.adaptation.arms import ARMS, Setting, noisy, shuffled
from adamem.bench.adaptation.asked import Asked, Known
from adamem.bench.adaptation.config import AcquisitionConfig, AdaptationExperiment
from adamem.bench.adaptation.drift import ALARMS
from adamem.bench.adaptation.gate import Gate
from adamem.bench.adaptation.invented import invented
from adamem.bench.adaptation.learning import Learning
from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.adaptation.replay import Reservoir
from adamem.bench.adaptation.runner import run_adaptation
from adamem.bench.adaptation.source import general_set
from adamem.bench.adaptation.stream import run_stream
from adamem.bench.adaptation.tasks import Document, General, Lesson, Question, Task, TaskSequence
from adamem.bench.adaptation.variants import Variants
from adamem.encoders import open_encoder
from adamem.encoders.bridges import mean_drift
from adamem.errors import ConfigError, InvalidInput, UnknownName
from adamem.report.adaptation import controls, tables
from adamem.report.adaptation.gathered import continual, gather
from adamem.report.verify import verify
from adamem.studies import study_class


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.said = []
        self.stages = []

    def stage(self, what, total):
        self.said.append(what)
        self.stages.append([total, 0])

    def now(self, what):
        self.said.append(what)

    def advance(self, steps=1.0):
        self.stages[-1][1] += steps

    def say(self, sentence):
        self.said.append(sentence)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A general set of twelve sentences, and a question to each."""
    folder = tmp_path_factory.mktemp("texts") / "general"
    folder.mkdir()
    things = ["sea", "moon", "bread", "iron", "glass", "rain", "wool", "salt", "sand", "oak", "clay", "snow"]
    for name, records in (
        (
            "corpus",
            [{"_id": f"g{n}", "text": f"The {thing} is told of in book {n}."} for n, thing in enumerate(things)],
        ),
        ("queries", [{"_id": f"q{n}", "text": f"Which book tells of {thing}?"} for n, thing in enumerate(things)]),
    ):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record) + "\n" for record in records)
    (folder / "qrels.tsv").write_text("".join(f"q{n}\tg{n}\t1\n" for n in range(len(things))))
    return folder


SIZES = Sizes(tasks=2, documents=40, lessons=20, held_out=10, general=6)


@pytest.fixture(scope="module")
def sequence(elsewhere):
    return invented(general=elsewhere, sizes=SIZES, terms=9, seed=0)


@pytest.fixture(scope="module")
def small(elsewhere):
    """The names of sequences stand for small ones of invented terms."""
    from functools import partial

    from adamem.bench.adaptation import sequences

    before = dict(sequences.SEQUENCES)
    sequences.SEQUENCES["invented"] = partial(invented, general=elsewhere, terms=9)
    yield
    sequences.SEQUENCES.update(before)


def config_of(**others):
    size = {
        "sets": ["invented"],
        "arms": ["none", "lora", "query-only", "random", "joint"],
        "seeds": 2,
        "sizes": {"tasks": 2, "documents": 26, "lessons": 16, "held_out": 6, "general": 4},
        "acquisition": {
            "sets": ["invented"],
            "probes": 2,
            "own_steps": [1, 3],
            "further": [2, 4],
            "pool": 16,
            "before": 3,
            "tasks": 2,
            "documents": 30,
            "lessons": 20,
            "held_out": 12,
        },
    }
    return {
        "name": "small",
        "title": "A small encoder",
        "study": "adaptation",
        "learning": {"rank": 4, "alpha": 8, "batch": 8, "epochs": 1, "beside": 2, "threads": 1},
        "default": size | others,
    }


@pytest.fixture(scope="module")
def ran(small, tmp_path_factory):
    """A whole run, with its report; every bar ends where it said that it would."""
    out = tmp_path_factory.mktemp("run") / "small"
    experiment = validate(AdaptationExperiment, config_of(), source="test")
    reporter = Quiet()
    run_adaptation(experiment, out, only=None, reporter=reporter, done=report.write)
    assert len(reporter.stages) == 14
    assert [done for _, done in reporter.stages] == [total for total, _ in reporter.stages]
    return out


@pytest.fixture(scope="module")
def minilm():
    return open_encoder("minilm")


@pytest.mark.minilm
def test_a_whole_run_and_its_report(ran):
    """Every piece is there, the pages say what was found, and all follows from the raw files."""
    run = AdaptationFolder(ran).run()
    assert run.status == "complete"
    arms = ["questions", "none", "lora", "query-only", "random", "joint"]
    assert run.pieces == [
        *(f"invented.{seed}.{what}" for seed in range(2) for what in arms),
        *(f"acquisition.invented.{seed}.{steps}" for seed in range(2) for steps in (1, 3)),
    ]
    assert verify(ran) == []
    page = (ran / "report.md").read_text()
    for heading in (
        "Does an update teach?",
        "One update, one fact",
        "Task after task",
        "What is forgotten",
        "Controls",
    ):
        assert heading in page
    for name in ("acquired", "stream", "forgetting"):
        assert (ran / "figures" / f"{name}.svg").is_file()
    assert "Recall@1" in str(report.summary(ran).renderables[0].title)
    assert "fewer than three seeds" in page


@pytest.mark.minilm
def test_an_altered_figure_is_found(ran):
    """A table's cell, a page, raw arrays."""
    for name in ("tables/levels.csv", "report.md", "raw/invented.0.lora.npz"):
        kept = (ran / name).read_bytes()
        (ran / name).write_bytes(kept.replace(b"e", b"f", 1))
        assert any(name.split("/")[-1] in said for said in verify(ran))
        (ran / name).write_bytes(kept)
    assert verify(ran) == []


@pytest.mark.minilm
def test_what_is_whole_is_not_measured_again(ran, small):
    """A second run measures nothing; a damaged piece alone is measured anew, and gives what it gave."""

    def times():
        return {path.name: path.stat().st_mtime_ns for path in (ran / "raw").iterdir()}

    before = times()
    experiment = validate(AdaptationExperiment, config_of(), source="test")
    run_adaptation(experiment, ran, only=None, reporter=Quiet(), done=report.write)
    assert times() == before
    kept = AdaptationFolder(ran).arrays("invented.1.query-only")
    (ran / "raw" / "invented.1.query-only.npz").write_bytes(b"damaged")
    assert any("invented.1.query-only" in said for said in verify(ran))
    run_adaptation(experiment, ran, only=("invented",), reporter=Quiet(), done=report.write)
    after = times()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"invented.1.query-only.npz", "invented.1.query-only.json"}
    assert (AdaptationFolder(ran).arrays("invented.1.query-only")["anew"] == kept["anew"]).all()
    assert verify(ran) == []


@pytest.mark.minilm
def test_a_run_that_is_cut_off_counts_what_it_has(small, tmp_path):
    """The record has every piece that was whole by then, so that a report can be made of them."""

    class Impatient(Quiet):
        def now(self, what):
            if what == "invented.1.questions":
                raise KeyboardInterrupt

    tables_ = config_of(arms=["none"], acquisition=None)
    experiment = validate(AdaptationExperiment, tables_, source="test")
    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        run_adaptation(experiment, out, only=None, reporter=Impatient(), done=report.write)
    run = AdaptationFolder(out).run()
    assert (run.status, run.pieces) == ("incomplete", ["invented.0.questions", "invented.0.none"])
    report.write(out)
    assert "it has: invented 1." in (out / "report.md").read_text()


@pytest.mark.minilm
def test_what_is_recorded_is_what_the_adapted_encoder_finds(minilm, sequence):
    """The rows of a stage are those of exact search by hand with the encoder of that stage, level by level."""
    asked = Asked.of(sequence)
    known = Known(minilm, asked)
    setting = Setting(minilm, known, sequence, Learning(rank=4, alpha=8, batch=8, epochs=1, threads=1), seed=1)
    states = list(ARMS["lora"](setting))
    arrays, facts = run_stream(setting, lambda _: iter(states), asked, known, advance=lambda _: None)
    assert arrays["after"].tolist() == [0, 1, 2]
    assert facts == {"documents": len(sequence.documents), "questions": len(asked.questions)}
    number_of = {one.id: number for number, one in enumerate(sequence.documents)}
    old = minilm.encode_document([one.text for one in sequence.documents])
    for stage, encoder in ((0, minilm), (1, states[0].encoder), (2, states[1].encoder)):
        documents = encoder.encode_document([one.text for one in sequence.documents])
        for task in sequence.tasks:
            some = (*task.wordings[:3], *task.neighbours[:2])
            for question, vector in zip(some, encoder.encode_query([one.text for one in some]), strict=True):
                place = asked.questions.index(question.text)
                views = [(arrays["anew"][stage, place], documents)]
                views += [(arrays["stale"][place], old)] if stage == 2 else []
                for found, against in views:
                    cosines = against @ vector
                    assert np.allclose(cosines[found], np.sort(cosines)[::-1][:10], atol=1e-5)
                judged = asked.document[asked.query == place]
                assert {number_of[one] for one in question.relevant} == set(judged.tolist())
    general = asked.level == 2
    assert (arrays["anew"][:, general, :6] >= asked.own).all()
    assert (arrays["anew"][:, general, 6:] == -1).all()
    assert (arrays["anew"][:, ~general] < asked.own).all()
    # The last document share is all, the first is none.
    assert (arrays["mixed"][-1] == arrays["anew"][-1, :, 0]).all()
    assert (arrays["mixed"][0][~general] == arrays["stale"][~general, 0]).all()
    moved = mean_drift(states[1].encoder.encode_document(asked.documents), minilm.encode_document(asked.documents))
    bridged = moved(states[1].encoder.encode_query(asked.questions)) @ minilm.encode_document(asked.documents).T
    assert (arrays["bridged"][~general, 0] == bridged[~general, : asked.own].argmax(axis=1)).mean() > 0.8
    cosine = dict(zip(ALARMS, arrays["alarms"].T, strict=True))["document_cosine"]
    assert cosine[0] == pytest.approx(1)
    assert cosine[2] < 0.9999
    assert arrays["steps"][0] == 0 < arrays["steps"][1] < arrays["steps"][2]


@pytest.mark.minilm
def test_the_random_adapter_moves_documents_as_far_as_the_learnt_one(setting):
    """After each task, to other places; without the other's alarms it is refused."""
    asked = Asked.of(setting.sequence)
    learnt, _ = run_stream(setting, ARMS["lora"], asked, setting.known, advance=lambda _: None)
    # What is learnt in a moment moves little; a control must follow it further, too.
    learnt["alarms"][2, 0] = 0.8
    found, _ = run_stream(
        replace(setting, followed=learnt), ARMS["random"], asked, setting.known, advance=lambda _: None
    )
    assert (1 - found["alarms"][1:, 0]) == pytest.approx(1 - learnt["alarms"][1:, 0], rel=0.25)
    assert (found["steps"] == 0).all()
    assert not np.array_equal(found["anew"][1], learnt["anew"][1])
    with pytest.raises(InvalidInput, match="measure that first"):
        next(iter(ARMS["random"](setting)))


@pytest.mark.minilm
def test_arms_take_the_steps_that_they_say(minilm, sequence):
    """With replay and of all tasks at once as many as without, single steps one a lesson but for the very first; all at
    once are one state; what is learnt differs."""
    asked = Asked.of(sequence)
    known = Known(minilm, asked)
    setting = Setting(
        minilm, known, sequence, Learning(rank=2, alpha=4, batch=8, epochs=1, beside=2, threads=1), seed=0
    )
    counts = [len(task.lessons) for task in sequence.tasks]
    followed, _ = run_stream(setting, ARMS["lora"], asked, known, advance=lambda _: None)
    following = replace(setting, followed=followed)
    states = {arm: list(ARMS[arm](following)) for arm in ("lora", "lora-replay", "lora-steps", "joint")}
    steps = {arm: [state.steps for state in found] for arm, found in states.items()}
    assert [state.after for state in states["joint"]] == [2]
    assert steps["lora-steps"] == [counts[0] - 1, sum(counts) - 1]
    assert steps["lora-replay"] == steps["lora"] == followed["steps"][1:].tolist()
    assert steps["joint"] == [steps["lora"][1]]
    last = [found[-1].norms for found in states.values()]
    assert len({tuple(norms.round(6)) for norms in last}) == 4
    assert all(found[-1].seconds > 0 and found[-1].nbytes == states["lora"][0].nbytes for found in states.values())


@pytest.fixture(scope="module")
def setting(minilm, elsewhere):
    """Of two tasks, learnt in a moment."""
    sizes = Sizes(tasks=2, documents=26, lessons=12, held_out=6, general=4)
    sequence = invented(general=elsewhere, sizes=sizes, terms=9, seed=0)
    known = Known(minilm, Asked.of(sequence))
    learning = Learning(rank=2, alpha=4, batch=8, epochs=1, beside=2, threads=1)
    return Setting(minilm, known, sequence, learning, seed=0)


@pytest.mark.minilm
def test_full_tuning_trains_every_weight_that_takes_part(minilm, setting):
    """Its bytes are those of the weights that changed; each state is an encoder of its own, and the base stays."""
    texts = ["The sea.", "A term that nobody knows."]
    before = minilm.encode_document(texts)
    states = list(ARMS["full-tuning"](setting))
    assert np.array_equal(minilm.encode_document(texts), before)
    assert [state.after for state in states] == [1, 2]
    assert states[1].steps == 2 * states[0].steps > 0
    # MiniLM's 22.7 million weights but for the pooling layer, which takes no part; a LoRA has some thousand.
    assert 80e6 < states[0].nbytes <= states[1].nbytes < 91e6
    first, second = (state.encoder for state in states)
    vectors = [encoder.encode_document(texts) for encoder in (first, second)]
    assert np.allclose(np.linalg.norm(vectors[0], axis=1), 1, atol=1e-5)
    assert not np.allclose(vectors[0], before, atol=1e-4)
    assert not np.allclose(vectors[1], vectors[0], atol=1e-4)
    assert len({minilm.fingerprint, first.fingerprint, second.fingerprint}) == 3
    faster = next(ARMS["full-tuning"](replace(setting, variants=Variants(full_rate=2e-4))))
    assert ((faster.encoder.encode_document(texts) * before).sum(1) < (vectors[0] * before).sum(1)).all()


@pytest.mark.minilm
def test_a_gentle_lora_moves_less_than_the_other(setting):
    """In as many steps, at the rate that it is given."""
    usual, gentle = (list(ARMS[arm](setting)) for arm in ("lora", "lora-gentle"))
    assert [state.steps for state in gentle] == [state.steps for state in usual]
    assert (gentle[1].norms < 0.3 * usual[1].norms).all()
    (same, _) = ARMS["lora-gentle"](replace(setting, variants=Variants(gentle_rate=setting.learning.rate)))
    assert np.array_equal(same.norms, usual[0].norms)


@pytest.mark.minilm
def test_a_lora_of_queries_alone_leaves_the_documents(setting):
    """It takes the same steps against documents as they were: questions move, no document does, and one view is all."""
    asked = Asked.of(setting.sequence)
    usual, alone = (list(ARMS[arm](setting)) for arm in ("lora", "lora-queries"))
    assert [state.steps for state in alone] == [state.steps for state in usual]
    assert [state.moves_documents for state in (*usual, *alone)] == [True, True, False, False]
    assert not np.array_equal(alone[1].norms, usual[1].norms)
    found, _ = run_stream(setting, lambda _: iter(alone), asked, setting.known, advance=lambda _: None)
    assert not {"mixed", "stale", "bridged"} & set(found)
    assert (found["embedding_seconds"] == 0).all()
    assert found["alarms"][:, 0] == pytest.approx(1)
    assert found["alarms"][2, 1] < 0.9999
    by_hand = alone[1].encoder.encode_query(asked.questions) @ setting.base.encode_document(asked.documents).T
    first = by_hand[:, : asked.own].argmax(axis=1)
    own = asked.level < 2
    assert (found["anew"][2, own, 0] == first[own]).mean() > 0.95


@pytest.mark.minilm
def test_own_hits_are_what_the_encoder_finds_itself(setting, monkeypatch):
    """Each task is learnt from what the encoder ranks first at its beginning, right or wrong, and no truth is in it."""
    from adamem.adapt import LoRALearner

    given, learn = [], LoRALearner.learn
    monkeypatch.setattr(LoRALearner, "learn", lambda self, pairs, **k: (given.append(pairs), learn(self, pairs, **k)))
    states = list(ARMS["own-hits"](setting))
    texts = [document.text for document in setting.sequence.documents]
    answers = {document.id: document.text for document in setting.sequence.documents}
    wrong = 0
    for task, encoder, pairs in zip(setting.sequence.tasks, (setting.base, states[0].encoder), given, strict=True):
        vectors = encoder.encode_query([lesson.question for lesson in task.lessons])
        found = (vectors @ encoder.encode_document(texts).T).argmax(axis=1)
        assert [pair.query for pair in pairs] == [lesson.question for lesson in task.lessons]
        assert [pair.document for pair in pairs] == [texts[place] for place in found]
        assert all(pair.group is None for pair in pairs)
        wrong += sum(
            pair.document != answers[lesson.document] for pair, lesson in zip(pairs, task.lessons, strict=True)
        )
    assert wrong > 0


@pytest.mark.minilm
def test_own_hits_that_are_all_the_same_teach_nothing(setting):
    """Of a collapsed encoder, which finds one document for everything, nothing can be learnt; the stream goes on."""

    class Collapsed(Known):
        def encode_query(self, texts):
            return np.repeat(self.documents[:1], len(texts), axis=0)

    asked = Asked.of(setting.sequence)
    first, _ = ARMS["own-hits"](replace(setting, known=Collapsed(setting.base, asked)))
    assert first.steps == 0
    assert not first.norms.any()


@pytest.mark.minilm
def test_a_refused_update_leaves_all_as_it_was(minilm, setting):
    """Whatever the gate refuses: the vectors stay, nothing is embedded anew, and the time stays spent."""
    asked = Asked.of(setting.sequence)
    strict = replace(setting, learning=replace(setting.learning, rate=0.05, epochs=2))
    arrays, _ = run_stream(strict, ARMS["shuffled-gated"], asked, setting.known, advance=lambda _: None)
    assert arrays["refused"].tolist() == [False, True, True]
    assert (arrays["marks"][1:, 1] < arrays["marks"][1:, 0] - 0.01).all()
    assert np.isnan(arrays["marks"][0]).all()
    assert (arrays["anew"] == arrays["anew"][0]).all()
    assert arrays["embedding_seconds"].tolist() == [0, 0, 0]
    assert arrays["exam_seconds"][0] == 0 < arrays["exam_seconds"][1:].min()
    assert 0 < arrays["learning_seconds"][1] < arrays["learning_seconds"][2]
    assert 0 < arrays["steps"][1] < arrays["steps"][2]
    assert not arrays["norms"].any()
    assert not {"mixed", "stale", "bridged"} & set(arrays)


@pytest.mark.minilm
def test_an_update_that_loses_little_is_taken(setting):
    """With a tolerance of all there is, what the gate lets through is learnt from what it did not hold out."""
    lenient = replace(setting, variants=Variants(tolerance=1.0))
    states = list(ARMS["lora-gated"](lenient))
    assert not any(state.verdict.refused for state in states)
    assert (states[1].norms > 0).all()
    assert (states[1].norms != states[0].norms).all()
    gate = lenient.gate()
    counts = []
    for task, state in zip(setting.sequence.tasks, states, strict=True):
        pairs = setting.pairs(task)
        taught = gate.withhold(pairs)
        assert len(pairs) - len(taught) == 5
        assert [pair for pair in pairs if pair in taught] == taught
        counts.append(-(-len(taught) // setting.learning.batch))
        assert state.steps >= sum(counts)
    verdict = gate.examine(states[0].encoder, states[1].encoder)
    assert verdict[:2] == pytest.approx(states[1].verdict[:2])


@pytest.mark.minilm
def test_after_a_refusal_it_goes_on_from_what_it_had(setting, monkeypatch):
    """The second of two tasks is learnt from the first one's weights, not from the refused ones."""
    from adamem.bench.adaptation.gate import Gate, Verdict

    said = iter([False, True, False])
    monkeypatch.setattr(Gate, "examine", lambda *_: Verdict(0.5, 0.5, next(said), 0.0, 1))
    tasks = setting.sequence.tasks
    three = replace(setting, sequence=replace(setting.sequence, tasks=(tasks[0], tasks[1], tasks[1])))
    first, second, third = ARMS["lora-gated"](three)
    assert np.array_equal(second.norms, first.norms)
    assert second.encoder is first.encoder
    assert second.steps > first.steps
    assert not np.array_equal(third.norms, second.norms)
    cosines = [
        (state.encoder.encode_document(["A text."]) * first.encoder.encode_document(["A text."])).sum()
        for state in (second, third)
    ]
    assert cosines[0] == pytest.approx(1, abs=1e-5) != cosines[1]


class Axes:
    """Finds every numbered text first, but those that it has lost last."""

    def __init__(self, count, lost=()):
        self.count, self.lost = count, lost

    def encode_query(self, texts):
        return np.eye(self.count, dtype=np.float32)[[int(text.split()[1]) for text in texts]]

    def encode_document(self, texts):
        kept = [int(text.split()[1]) not in self.lost for text in texts]
        return self.encode_query(texts) * np.array(kept, dtype=np.float32)[:, None]


def test_a_gate_asks_for_what_it_held_out():
    """At least five lessons of a task and at most half; every exam asks those of all tasks so far; falling by more than
    the tolerance is refused, by less is not."""
    pairs = pairs_of(126)
    texts = [pair.document for pair in pairs]
    for tolerance, refused in ((0.12, False), (0.11, True)):
        gate = Gate(texts, held_out=0.1, tolerance=tolerance, among=1000, rng=np.random.default_rng(0))
        taught = gate.withhold(pairs[:100])
        assert len(taught) == 90
        assert len(gate.withhold(pairs[100:120])) == 15
        assert len(gate.withhold(pairs[120:])) == 3
        held = [number for number, pair in enumerate(pairs[:100]) if pair not in taught]
        verdict = gate.examine(Axes(126), Axes(126, lost=held[:2]))  # two of the first task's ten
        assert verdict[:3] == (1.0, pytest.approx(16 / 18), refused)
        assert not gate.examine(Axes(126, lost=held[:2]), Axes(126)).refused
        # What is taught is not asked for.
        assert gate.examine(Axes(126), Axes(126, lost=[texts.index(pair.document) for pair in taught])).after == 1


def test_a_gate_examines_nothing_that_is_taught_with_another_answer():
    """A question with several answers is held out with all of them, or taught with all."""
    pairs = [Pair(f"query {n // 3}", f"document {n}") for n in range(60)]
    gate = Gate([pair.document for pair in pairs], held_out=0.1, tolerance=0, among=9, rng=np.random.default_rng(0))
    taught = gate.withhold(pairs)
    assert len(taught) == 45
    assert len({pair.query for pair in taught}) == 15
    assert gate.examine(Axes(60), Axes(60)).questions == 15


def test_seeds_ask_other_questions_of_the_general_set(elsewhere):
    """One share of it after the other, and from the beginning again where it ends; no more than there are."""
    asked = [{one.text for one in general_set(elsewhere, count=4, seed=seed).questions} for seed in range(4)]
    assert len(asked[0] | asked[1] | asked[2]) == 12
    assert asked[3] == asked[0]
    assert len(general_set(elsewhere, count=50, seed=1).questions) == 12


@pytest.mark.minilm
def test_learning_teaches_and_shuffled_pairs_do_not(minilm, elsewhere):
    """Terms under another name: what is taught is found better in other words, unless its pairs are shuffled."""
    sequence = invented(
        general=elsewhere,
        sizes=Sizes(tasks=1, documents=40, lessons=48, held_out=24, general=4),
        terms=6,
        renamed=True,
        seed=0,
    )
    asked = Asked.of(sequence)
    known = Known(minilm, asked)
    setting = Setting(minilm, known, sequence, Learning(batch=8, epochs=3, rate=1e-3, threads=1), seed=0)
    found = {}
    for arm in ("lora", "shuffled"):
        arrays, _ = run_stream(setting, ARMS[arm], asked, known, advance=lambda _: None)
        mine = np.flatnonzero(asked.level == 0)
        answers = np.array([asked.document[asked.query == one][0] for one in mine])
        found[arm] = (arrays["anew"][:, mine, 0] == answers).mean(axis=1)
    assert found["lora"][1] > found["lora"][0] + 0.2
    assert found["shuffled"][1] <= found["shuffled"][0] + 0.05


@pytest.mark.minilm
def test_facts_are_asked_for_when_the_record_says(ran):
    """Ranks before any update are the untouched encoder's; each fact has its moments among those recorded."""
    folder = AdaptationFolder(ran)
    arrays = folder.arrays("acquisition.invented.0.1")
    assert arrays["taught"].tolist() == [3, 5]
    done = set(arrays["done"].tolist())
    for first in arrays["taught"].tolist():
        assert {first, first + 1, first + 3, first + 5} <= done
    assert (arrays["anew"][0] == arrays["stale"][0]).all()
    assert (arrays["anew"] >= 1).all()
    assert arrays["update_ns"].size == 5 + 1 + 4
    assert (arrays["update_ns"][1:] > 1e6).all()
    acquired, longer = gather(ran).acquired
    assert (acquired.key, longer.key) == ("invented", "invented, 3 steps")
    other = folder.arrays("acquisition.invented.0.3")
    for name in ("done", "taught", "group", "key"):
        assert (other[name] == arrays[name]).all()
    assert acquired.moments == ("untouched", "before", "0", "2", "4")
    probes = arrays["taught"].size
    by_hand: dict[tuple[int, int], list[float]] = {}
    for number in range(2):
        held = folder.arrays(f"acquisition.invented.{number}.1")
        for question, fact in enumerate(held["fact"].tolist()):
            if fact < probes:
                stage = held["done"].tolist().index(held["taught"][fact] + 1 + 2)
                by_hand.setdefault((number, fact), []).append(float(held["anew"][stage, question] == 1))
    # The two seeds make up other facts, so that none is counted twice.
    assert acquired.found("2", taught=True).tolist() == [float(np.mean(values)) for values in by_hand.values()]


@pytest.mark.minilm
def test_a_facts_own_update_takes_the_steps_that_it_is_given(minilm, sequence, monkeypatch):
    """Three each, with other former pairs beside it; every other update one, but for the very first of all."""
    from adamem.adapt import LoRALearner

    given, step = [], LoRALearner.step
    monkeypatch.setattr(LoRALearner, "step", lambda self, pairs: (given.append(pairs), step(self, pairs)))
    config = AcquisitionConfig(sets=["invented"], probes=2, further=(2, 4), pool=16, before=3)
    learning = Learning(rank=2, alpha=4, beside=2, threads=1)
    plan = planned(sequence, config, seed=0)
    measure_acquisition(minilm, sequence, config, learning, steps=3, seed=0, advance=lambda: None)
    own = {plan.updates[number].question for number in plan.taught}
    wanted = [lesson.question for lesson in plan.updates[1:] for _ in range(3 if lesson.question in own else 1)]
    assert [pairs[0].query for pairs in given] == wanted
    first, *_ = (number for number, pairs in enumerate(given) if pairs[0].query in own)
    assert len({tuple(pair.query for pair in pairs) for pairs in given[first : first + 3]}) > 1


def test_a_plan_teaches_each_fact_once_and_the_others_never(elsewhere):
    """No group of a fact, taught or not, has another lesson; the pool holds every answer."""
    sequence = invented(
        general=elsewhere, sizes=Sizes(tasks=2, documents=80, lessons=80, held_out=80, general=1), terms=12, seed=0
    )
    config = AcquisitionConfig(sets=["invented"], probes=4, further=[3, 9], pool=40, before=5)
    plan = planned(sequence, config, seed=0)
    assert plan.taught == [5, 8, 11, 14]
    assert len(plan.updates) == 14 + 1 + 9
    probes = [plan.updates[number] for number in plan.taught]
    assert len({lesson.group for lesson in probes}) == 4
    groups = [lesson.group for lesson in plan.updates]
    assert all(groups.count(lesson.group) == 1 for lesson in probes)
    assert sorted(set(plan.fact.tolist())) == list(range(8))
    relevant = {q.text: q.relevant for task in sequence.tasks for q in task.wordings}
    taught = {lesson.document for lesson in plan.updates}
    assert [relevant[text] for text in plan.wordings] == plan.relevant
    for answers, fact in zip(plan.relevant, plan.fact.tolist(), strict=True):
        assert bool(set(answers) & taught) == (fact < 4)
    encoder = open_encoder("hashing:64")
    pool = pooled(plan, sequence, encoder, size=30, seed=0)
    assert len(pool.texts) == len(set(pool.texts)) == 30
    assert np.allclose(pool.old, encoder.encode_document(pool.texts), atol=1e-6)
    text_of = {one.id: one.text for one in sequence.documents}
    for answers, places in zip(plan.relevant, pool.answers, strict=True):
        assert {pool.texts[place] for place in places} == {text_of[one] for one in answers}
    least = pooled(plan, sequence, encoder, size=1, seed=0).texts
    assert set(least) == {text_of[one] for answers in plan.relevant for one in answers} < set(pool.texts)
    others = pooled(plan, sequence, encoder, size=30, seed=1).texts
    assert set(least) < set(others) != set(pool.texts)
    with pytest.raises(InvalidInput, match="fewer probes"):
        planned(sequence, AcquisitionConfig(sets=["invented"], probes=50, pool=100), seed=0)


def pairs_of(count, groups=None):
    return [Pair(f"query {n}", f"document {n}", None if groups is None else f"g{n % groups}") for n in range(count)]


def test_shuffled_pairs_are_all_wrong():
    """Each query has the document of another group, and every document is used once; noise is so for a share."""
    for groups in (None, 3, 20):
        pairs = pairs_of(20, groups)
        wrong = shuffled(pairs, np.random.default_rng(0))
        group_of = {pair.document: pair.group or pair.document for pair in pairs}
        assert [pair.query for pair in wrong] == [pair.query for pair in pairs]
        assert sorted(pair.document for pair in wrong) == sorted(pair.document for pair in pairs)
        for pair, other in zip(pairs, wrong, strict=True):
            assert group_of[other.document] != (pair.group or pair.document)
    one_other = [Pair("a", "A", "one"), Pair("b", "B", "two", shared=("one",)), Pair("c", "C", "three")]
    assert [(pair.query, pair.document) for pair in shuffled(one_other, np.random.default_rng(0))] in (
        [("a", "C"), ("c", "A")],
        [("b", "C"), ("c", "B")],
    )
    pairs = pairs_of(20)
    some = noisy(pairs, np.random.default_rng(0))
    assert sum(one != other for one, other in zip(pairs, some, strict=True)) == 4


def test_a_reservoir_is_an_even_sample():
    """Early and late pairs stay alike often; what stands beside a pair shares nothing with it or among itself."""
    kept = np.zeros(60)
    for seed in range(300):
        reservoir = Reservoir(6, np.random.default_rng(seed))
        for pair in pairs_of(60):
            reservoir.offer(pair)
        assert len(reservoir.held) == 6
        kept[[int(pair.query.split()[1]) for pair in reservoir.held]] += 1
    assert abs(kept[:30].sum() - kept[30:].sum()) < 0.1 * kept.sum()
    reservoir = Reservoir(50, np.random.default_rng(0))
    for pair in pairs_of(30, groups=5):
        reservoir.offer(pair)
    new = Pair("new", "text", "g2")
    beside = reservoir.beside(new, 10)
    assert len({pair.group for pair in beside}) == len(beside) == 4
    assert all(pair.group != "g2" for pair in beside)
    assert len(reservoir.some(10)) == 10


def test_measures_of_learning_in_sequence():
    """On a matrix whose values were found by hand."""
    matrix = np.array([[0.1, 0.9, 0.3], [0.9, 0.3, 0.3], [0.5, 0.8, 0.6], [0.4, 0.7, 0.9]])
    found = continual(matrix)
    assert found["final"] == pytest.approx(2 / 3)
    assert found["backward"] == pytest.approx(((0.4 - 0.9) + (0.7 - 0.8)) / 2)
    assert found["forgetting"] == pytest.approx(
        ((0.9 - 0.4) + (0.9 - 0.7)) / 2
    )  # the second task was known best untouched
    assert found["forward"] == pytest.approx(((0.3 - 0.9) + (0.6 - 0.3)) / 2)
    matrix[2] = np.nan
    assert np.isnan(continual(matrix)["backward"])
    assert continual(matrix)["final"] == pytest.approx(2 / 3)


def test_alarms_tell_what_moved():
    """A rotation keeps neighbours and rank but no cosine; collapse shows as anisotropy and a low rank."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(200, 16)).astype(np.float32)
    old /= np.linalg.norm(old, axis=1, keepdims=True)
    turned = old @ np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    assert drift.mean_cosine(old, old) == pytest.approx(1, abs=1e-5)
    assert abs(drift.mean_cosine(turned, old)) < 0.5
    assert drift.neighbour_overlap(turned, old) > 0.99
    assert drift.neighbour_overlap(old[::-1].copy(), old) < 0.2
    assert abs(drift.anisotropy(old)) < 0.02
    cosines = old[:20].astype(np.float64) @ old[:20].T
    assert drift.anisotropy(old[:20]) == pytest.approx((cosines.sum() - 20) / 380, abs=1e-5)
    one_way = old.copy()
    one_way[:, 0] += 5
    one_way /= np.linalg.norm(one_way, axis=1, keepdims=True)
    assert drift.anisotropy(one_way) > 0.9
    assert drift.effective_rank(one_way) < drift.effective_rank(old) == pytest.approx(16, abs=0.5)


def test_questions_are_counted_by_level_and_task():
    """Levels a and b in the order of the tasks, level c last and among documents of its own."""
    general = General("other", (Document("g", "The sea."),), (Question("What is wet?", ("g",), "g"),))
    task = Task(
        "one", ("d", "e"), (Lesson("A?", "d", "d"),), (Question("Aa?", ("d",), "d"),), (Question("B?", ("e",), "e"),)
    )
    asked = Asked.of(TaskSequence("s", "en", (task,), (Document("d", "D."), Document("e", "E.")), general))
    assert asked.questions == ["Aa?", "B?", "What is wet?"]
    assert asked.level.tolist() == [0, 1, 2]
    assert asked.task.tolist() == [0, 0, -1]
    assert asked.document.tolist() == [0, 1, 2]
    axes = np.eye(3, dtype=np.float32)
    rows = asked.ranked(axes[[1, 0, 0]], axes)
    assert rows[:, :2].tolist() == [[1, 0], [0, 1], [2, -1]]


def test_mistakes_are_sentences(tmp_path, small):
    """An unknown arm or set, an arm before the one it needs, a size that is not there, a folder of something else."""
    study = study_class("adaptation")
    for wrong, told in (
        ({"arms": ["lroa"]}, "expected one of none, lora"),
        ({"sets": ["nothing"]}, "expected one of koziev"),
        ({"arms": ["random", "lora"]}, "put 'lora' before it"),
        ({"arms": ["lora", "lora"]}, "twice"),
    ):
        with pytest.raises(ConfigError, match=told):
            study.from_tables(config_of(**wrong), source="test")
    one = study.from_tables(config_of(), source="test")
    with pytest.raises(InvalidInput, match=r"no table \[full\]"):
        one.sized("full")
    with pytest.raises(UnknownName, match="acquisition"):
        one.part(["nothing"])
    with pytest.raises(ConfigError, match=r"no table \[full\]"):
        study.from_tables(config_of() | {"size": "full"}, source="test")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="choose a new folder"):
        one.run(tmp_path, reporter=Quiet(), done=print)
    words = config_of() | {"encoder": "hashing:64"}
    with pytest.raises(InvalidInput, match="sentence-transformers"):
        study.from_tables(words, source="test").run(tmp_path / "out", reporter=Quiet(), done=print)


def test_sizes_have_folders_of_their_own():
    """--quick runs what its table says, into NAME-quick; the forecast says what."""
    tables_ = config_of()
    tables_["quick"] = tables_["default"] | {"seeds": 1, "arms": ["none"]}
    study = study_class("adaptation").from_tables(tables_, source="test")
    quick = study.sized("quick")
    assert (study.folder_name, quick.folder_name) == ("small", "small-quick")
    assert quick.experiment.chosen.arms == ["none"]
    assert "default" not in quick.experiment.resolved()
    again = validate(AdaptationExperiment, quick.experiment.resolved(), source="test")
    assert again.chosen == quick.experiment.chosen
    assert "seeds: 1" in quick.forecast(reporter=Quiet())
    assert "--only invented: 2 tasks" in study.forecast(reporter=Quiet())


@pytest.mark.minilm
def test_tables_say_what_the_raw_files_say(ran):
    """The change of level a by hand; the untouched row; controls with chance; worst points."""
    gathered = gather(ran)
    folder = AdaptationFolder(ran)
    changes: dict[int, list[float]] = {}
    for seed in range(2):
        asked, rows = folder.arrays(f"invented.{seed}.questions"), folder.arrays(f"invented.{seed}.lora")["anew"]
        for question in np.flatnonzero(asked["level"] == 0):
            answers = asked["document"][asked["query"] == question]
            change = float(rows[-1, question, 0] in answers) - float(rows[0, question, 0] in answers)
            changes.setdefault(int(asked["key"][question]), []).append(change)
    (record,) = [
        r
        for r in tables.levels(gathered).records
        if (r["arm"], r["level"], r["documents"]) == ("lora", "wordings", "anew")
    ]
    assert record["questions"] == len(changes)
    assert record["difference"] == pytest.approx(np.mean([np.mean(found) for found in changes.values()]))
    found = controls.controls(gathered)
    (control,) = found.records
    assert control["arm"] == "random"
    assert control["chance"] == pytest.approx(1 / gathered.sets[0].facts["documents"], rel=0.1)
    arm = gathered.sets[0].arms["lora"]
    stage, low = arm.worst(0)
    assert low == min(arm.along(0)[1:]) == arm.along(0)[stage]
    assert arm.streams[0].matrix().shape == (3, 2)
    joint = gathered.sets[0].arms["joint"].streams[0]
    assert joint.after == [0, 2]
    assert np.isnan(joint.matrix()[1]).all()
    assert np.isfinite(joint.matrix()[[0, 2]]).all()
