"""The study of drift: what it measures is what happened, it goes on where it was, and its report follows."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from adamem import report
from adamem.adapt import LoRAAdapter
from adamem.bench import validate
from adamem.bench.adaptation import sequences
from adamem.bench.adaptation.invented import invented
from adamem.bench.adaptation.leakage import near_duplicates
from adamem.bench.adaptation.remembered import Remembered
from adamem.bench.adaptation.tasks import Sizes
from adamem.bench.drift.bridging import BRIDGES
from adamem.bench.drift.config import DriftExperiment
from adamem.bench.drift.drifts import DRIFTS, Setting
from adamem.bench.drift.indexed import Indexed, interleaved, merged, overlap
from adamem.bench.drift.records import DriftFolder
from adamem.bench.drift.runner import run_drift
from adamem.bench.drift.texts import texts_of
from adamem.encoders import open_encoder
from adamem.encoders.bridges import low_rank_affine, procrustes
from adamem.errors import ConfigError, InvalidInput, UnknownName
from adamem.index import SearchResult, index_class
from adamem.report.drift import tables
from adamem.report.drift.earlier import compared, earlier
from adamem.report.drift.gathered import DriftResult, Measured, gather, ratio
from adamem.report.verify import verify
from adamem.studies import study_class


class Quiet:
    """A reporter for a run that nobody watches."""

    def stage(self, what, total):
        pass

    def now(self, what):
        pass

    def advance(self, steps=1.0):
        pass

    def say(self, sentence):
        pass


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """The sequence of invented terms has 384 documents, and a general set that is not asked here."""
    folder = tmp_path_factory.mktemp("texts") / "general"
    folder.mkdir()
    for name, record in (
        ("corpus", {"_id": "g", "text": "The sea."}),
        ("queries", {"_id": "q", "text": "What is wet?"}),
    ):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
    (folder / "qrels.tsv").write_text("q\tg\t1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sequences.SEQUENCES, "invented", partial(invented, general=folder, terms=12))
        yield


def config_of(**others):
    size = {
        "sets": [{"name": "invented", "documents": 160}],
        "drifts": {"lora": 2, "rotation": 1},
        "questions": 30,
        "lessons": 60,
        "steps": 2,
    }
    return {
        "name": "small",
        "title": "A small drift",
        "study": "drift",
        "learning": {"rank": 4, "alpha": 8, "batch": 8, "threads": 1},
        "shares": [0.2, 0.6],
        "bridge": 0.4,
        "earlier": [
            {"set": "invented", "documents": 160, "questions": 400, "cosine": 0.5}
            | {"before": [0.0, 0.9], "stale": [0.5, 0.9], "anew": [1.0, 1.0]}
        ],
        "default": size | others,
    }


@pytest.fixture(scope="module")
def experiment():
    return validate(DriftExperiment, config_of(), source="test")


@pytest.fixture(scope="module")
def one_thread():
    """Beside other tests, threads that wait for one another take longer than one alone."""
    import torch  # loaded, so that its threads are among those held

    with threadpool_limits(1):
        yield torch


@pytest.fixture(scope="module")
def ran(small, experiment, one_thread, tmp_path_factory):
    """A whole run, with its report."""
    out = tmp_path_factory.mktemp("run") / "small"
    return run_drift(experiment, out, only=None, reporter=Quiet(), done=report.write)


@pytest.fixture(scope="module")
def minilm(one_thread):
    return Remembered(open_encoder("minilm"))


@pytest.mark.minilm
def test_a_whole_run_and_its_report(ran):
    """Every piece is there, the pages say what was found, and all follows from the raw files."""
    run = DriftFolder(ran).run()
    assert run.status == "complete"
    assert run.pieces == [
        *(f"invented.0.{what}" for what in ("questions", "lora", "rotation")),
        *(f"invented.1.{what}" for what in ("questions", "lora")),
    ]
    assert verify(ran) == []
    page = (ran / "report.md").read_text()
    for heading in (
        "What is lost, and whose loss is it?",
        "The encoder's loss and the index's",
        "While documents are embedded anew",
        "New vectors in an old index",
        "An earlier trial",
        "Controls",
    ):
        assert heading in page
    for name in ("losses", "shares"):
        assert (ran / "figures" / f"{name}.svg").is_file()
    assert "New questions" in page
    assert "fewer than three seeds" in page
    assert "by exact search" in str(report.summary(ran).renderables[0].title)


@pytest.mark.minilm
def test_an_altered_figure_is_found(ran):
    """A table's cell, a figure's value, a page, raw arrays."""
    for name in ("tables/split.csv", "figures/shares.csv", "report.md", "raw/invented.0.lora.npz"):
        kept = (ran / name).read_bytes()
        (ran / name).write_bytes(kept.replace(b"e", b"f", 1))
        assert any(name.split("/")[-1] in said for said in verify(ran))
        (ran / name).write_bytes(kept)
    assert verify(ran) == []


@pytest.mark.minilm
def test_what_is_whole_is_not_measured_again(ran, experiment):
    """A second run measures nothing; a damaged piece alone is measured anew, and gives what it gave."""

    def times():
        return {path.name: path.stat().st_mtime_ns for path in (ran / "raw").iterdir()}

    before = times()
    run_drift(experiment, ran, only=None, reporter=Quiet(), done=report.write)
    assert times() == before
    kept = DriftFolder(ran).arrays("invented.0.rotation")
    (ran / "raw" / "invented.0.rotation.npz").write_bytes(b"damaged")
    assert any("invented.0.rotation" in said for said in verify(ran))
    run_drift(experiment, ran, only=("invented",), reporter=Quiet(), done=report.write)
    after = times()
    assert {name for name in before if before[name] != after[name]} == {
        "invented.0.rotation.npz",
        "invented.0.rotation.json",
    }
    assert (DriftFolder(ran).arrays("invented.0.rotation")["exact.anew"] == kept["exact.anew"]).all()
    assert verify(ran) == []


@pytest.mark.minilm
def test_a_rotation_is_lost_without_a_bridge_and_undone_by_procrustes(ran):
    """On real vectors: new questions find chance in the old index, and over Procrustes what they find in a new one."""
    (one,) = gather(ran).sets
    rotation = one.drifts["rotation"]
    assert rotation.score("exact", "anew").value > 0.5
    assert rotation.score("exact", "stale").value < 0.2 * rotation.score("exact", "anew").value
    for index in ("exact", "spiral", "hnsw", "faiss_pq"):
        back = rotation.pooled(index, "procrustes").mean() - rotation.pooled("exact", "anew").mean()
        assert abs(back) <= 0.01 + 1e-9
    # With its own old questions the old index is as good as the new one.
    assert (rotation.pooled("exact", "before") == rotation.pooled("exact", "anew")).mean() > 0.95
    found = tables.controls(gather(ran))
    assert [record["verdict"] for record in found.records] == ["holds", "not determined"]  # 64 texts, 384 dimensions
    (seed,) = rotation.seeds
    enough = seed.piece.model_copy(update={"facts": seed.piece.facts | {"fitted_to": 384}})
    held = [one for _, _, one in tables.checks(replace(rotation, seeds=(replace(seed, piece=enough),)))]
    assert held == [True, True]
    lost = seed.arrays | {"exact.procrustes": seed.arrays["exact.stale"], "exact.stale": seed.arrays["exact.anew"]}
    broken = replace(rotation, seeds=(replace(seed, piece=enough, arrays=lost, _found={}),))
    assert [one for _, _, one in tables.checks(broken)] == [False, False]


@pytest.mark.minilm
def test_a_loss_is_the_encoders_and_the_indexs(ran):
    """The parts add up to the total everywhere, and one of them is what the raw rows say by hand."""
    records = list(csv.DictReader(io.StringIO((ran / "tables" / "split.csv").read_text())))
    assert {record["index"] for record in records} == {"spiral", "hnsw", "faiss_pq"}
    assert {record["view"] for record in records} >= {"before", "stale", *BRIDGES, "query-map", "placed", "anew"}
    for record in records:
        total, encoder, index = (float(record[name]) for name in ("total", "encoder", "index_part"))
        assert total == pytest.approx(encoder + index, abs=1e-6)
    halves = csv.DictReader(io.StringIO((ran / "tables" / "shares.csv").read_text()))
    between = [record for record in halves if record["share"] not in ("0", "1")]
    assert len(between) == 2 * 4 * 4  # shares, indexes, ways
    for record in between:
        total, encoder, index = (float(record[name]) for name in ("total", "encoder", "index_part"))
        assert total == pytest.approx(encoder + index, abs=1e-6)
        assert record["index"] != "exact" or index == 0
    folder = DriftFolder(ran)
    lost = {"total": [], "encoder": [], "index_part": []}
    for seed in range(2):
        asked, rows = folder.arrays(f"invented.{seed}.questions"), folder.arrays(f"invented.{seed}.lora")
        for question in range(30):
            answers = set(asked["document"][asked["query"] == question].tolist())
            best, exact, mine = (
                bool(answers & set(rows[name][question].tolist()))
                for name in ("exact.anew", "exact.stale", "hnsw.stale")
            )
            lost["total"].append(best - mine)
            lost["encoder"].append(best - exact)
            lost["index_part"].append(exact - mine)
    (record,) = (
        r
        for r in records
        if (r["drift"], r["view"], r["index"], r["measure"]) == ("lora", "stale", "hnsw", "recall@10")
    )
    for name, values in lost.items():
        assert float(record[name]) == pytest.approx(np.mean(values), abs=1e-6)


@pytest.mark.minilm
def test_what_is_recorded_is_what_the_vectors_give(ran, minilm, experiment):
    """The untouched encoder's rows by hand; a mixed index and two that are merged, of each share, for a rotation."""
    texts = texts_of("invented", documents=160, lessons=60, questions=30, seed=0)
    rows = DriftFolder(ran).arrays("invented.0.rotation")
    questions, old = minilm.encode_query(texts.questions), minilm.encode_document(texts.documents)
    assert _same(rows["exact.before"], questions @ old.T)
    moved = DRIFTS["rotation"](Setting(minilm, texts, LoRAAdapter(), 0))
    assert np.allclose(moved.documents @ moved.questions.T, old @ questions.T, atol=1e-5)
    order = np.random.default_rng([0, 7]).permutation(160)
    for place, share in enumerate(experiment.shares):
        new = order[: round(share * 160)]
        both, own = moved.questions @ old.T, questions @ old.T
        both[:, new] = own[:, new] = moved.questions @ moved.documents[new].T
        assert _same(rows["exact.mixed"][place], both)
        assert _same(rows["exact.each-own"][place], own)
        there = order[: round(min(share, experiment.bridge) * 160)]
        over = low_rank_affine(moved.documents[there], old[there])(moved.questions) @ old.T
        over[:, new] = both[:, new]
        assert _same(rows["exact.bridged"][place], over)
        turns = rows["exact.by-rank"][place]
        assert np.isin(turns[:, ::2], new).all()
        assert not np.isin(turns[:, 1::2], new).any()
    some = order[: round(experiment.bridge * 160)]
    back = procrustes(moved.documents[some], old[some])(moved.questions)
    assert _same(rows["exact.procrustes"], back @ old.T)


def _same(rows, cosines):
    """Whether the rows are the nearest, up to ties."""
    return np.allclose(
        np.take_along_axis(cosines, rows.astype(np.int64), axis=1), -np.sort(-cosines)[:, :10], atol=1e-5
    )


@pytest.fixture(scope="module")
def clouds():
    """Old and new unit vectors of 1,500 documents in another order of 40 clusters, and 30 queries near the new ones."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 40, 24))
    member = rng.integers(40, size=1500)
    old, new = (centre[member] + 0.5 * rng.normal(size=(1500, 24)) for centre in centres)
    queries = new[:30] + 0.2 * rng.normal(size=(30, 24))
    return [(part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in (old, new, queries)]


@pytest.mark.parametrize("name", ["exact", "spiral", "hnsw", "faiss_pq", "faiss_nsg"])
def test_an_index_answers_by_the_vectors_that_were_put_in(name, clouds):
    """Share after share it finds what exact search finds among old and new vectors; in the end the new ones alone.

    A quantiser trained on other vectors finds only part of them, until it is trained anew.
    """
    floor = 0.5 if name == "faiss_pq" else 0.9
    old, new, queries = clouds
    order = np.random.default_rng(1).permutation(1500)
    one = Indexed(name, old, new, order, seed=0)
    index = one.over_old()
    one.tune(index, old[:50], enough=0.99)
    assert one.effort.found >= 0.99
    out = one.put_in(index, queries, [0.3, 0.7])
    assert out["mixed"].shape == (2, 30, 10)
    for share, found in zip((0.3, 0.7), out["mixed"], strict=True):
        both = old.copy()
        both[order[: round(share * 1500)]] = new[order[: round(share * 1500)]]
        truth = np.argsort(-(queries @ both.T), axis=1)[:, :10]
        assert overlap(found, truth) > floor
    truth = np.argsort(-(queries @ new.T), axis=1)[:, :10]
    stale = np.argsort(-(queries @ old.T), axis=1)[:, :10]
    assert overlap(stale, truth) < 0.1
    assert one.in_place == (name != "faiss_nsg")
    assert ("placed" in out) == one.in_place
    if one.in_place:
        assert overlap(out["placed"], truth) > floor
        assert overlap(out["kept-up"], truth) > 0.9
    side = one.side_by_side(queries, [0.3, 0.7], former=queries, bridged=[queries, queries])
    assert overlap(side["bridged"][1], np.argsort(-(queries @ both.T), axis=1)[:, :10]) > floor
    assert (side["bridged"] == side["each-own"]).all()


def test_the_effort_is_the_least_that_finds_enough(clouds):
    """Any is enough for nothing, none for more than all; an index without efforts keeps its defaults."""
    old, new, _ = clouds
    one = Indexed("hnsw", old, new, np.arange(1500), seed=0)
    index = one.over_old()
    (parameter,) = (one for one in index.search_params if one.effort)
    for enough, place in ((0.0, 0), (1.1, -1)):
        one.tune(index, old[:50], enough=enough)
        assert one.effort.params == {"ef": parameter.sweep[place]}
    exact = Indexed("exact", old, new, np.arange(1500), seed=0)
    exact.tune(exact.over_old(), old[:50], enough=0.99)
    assert exact.effort.params == {}


def test_two_answers_become_one():
    """By distance with ties by id, or in turns; empty places come last."""
    first = SearchResult(np.array([[4, 2, -1]]), np.array([[0.1, 0.3, np.inf]], dtype=np.float32))
    second = SearchResult(np.array([[9, 1, 7]]), np.array([[0.2, 0.3, 0.4]], dtype=np.float32))
    assert merged(first, second).tolist() == [[4, 9, 1, 2, 7, -1]]
    assert interleaved(first, second).tolist() == [[4, 9, 2, 1, 7, -1]]


def test_texts_share_nothing_between_what_is_taught_and_asked():
    """No group, document or near text; every judgement and lesson is among the documents; seeds draw others."""
    texts = texts_of("invented", documents=160, lessons=60, questions=30, seed=0)
    assert (len(texts.documents), len(texts.pairs), len(texts.questions)) == (160, 60, 30)
    assert len(set(texts.documents)) == 160
    answers = [texts.documents[number] for number in texts.document]
    taught = [pair.document for pair in texts.pairs]
    assert set(taught) <= set(texts.documents)
    assert not set(answers) & set(taught)
    assert not near_duplicates([pair.query for pair in texts.pairs] + taught, texts.questions + answers).any()
    assert sorted(set(texts.query.tolist())) == list(range(30))
    sequence = sequences.sequence_of("invented", sizes=Sizes(held_out=1000), seed=0)
    text_of = {one.id: one.text for one in sequence.documents}
    known = {one.text: {text_of[found] for found in one.relevant} for task in sequence.tasks for one in task.neighbours}
    assert [known[question] for question in texts.questions] == [{answer} for answer in answers]
    assert texts_of("invented", documents=160, lessons=60, questions=30, seed=0).key == texts.key
    assert texts_of("invented", documents=160, lessons=60, questions=30, seed=1).key != texts.key
    with pytest.raises(InvalidInput, match="allow more, or fewer lessons"):
        texts_of("invented", documents=50, lessons=80, questions=40, seed=0)


def test_facts_that_are_not_asked_for_may_be_taught(monkeypatch):
    """Where a group is one fact, what is left of level b is taught; nothing of a fact that is asked for."""
    from adamem.bench.drift import texts as module

    before = texts_of("invented", documents=384, lessons=10**6, questions=40, seed=0)
    monkeypatch.setattr(module, "_BY_FACT", ("invented",))
    texts = texts_of("invented", documents=384, lessons=10**6, questions=40, seed=0)
    assert texts.questions == before.questions
    assert len(texts.pairs) > len(before.pairs)
    sequence = sequences.sequence_of("invented", sizes=Sizes(), seed=0)
    term_of = {one.text: one.id.rpartition("-")[0] for one in sequence.documents}
    asked = {term_of[texts.documents[number]] for number in texts.document}
    assert len(asked) > 10
    assert not asked & {term_of[pair.document] for pair in texts.pairs}


def test_a_text_is_embedded_once():
    """In any order, and questions apart from documents."""
    asked = []

    class Counting:
        name, dim, fingerprint = "counting", 2, "f"

        def encode_query(self, texts):
            asked.append(("query", texts))
            return np.array([[len(text), 0] for text in texts], dtype=np.float32)

        def encode_document(self, texts):
            asked.append(("document", texts))
            return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    known = Remembered(Counting())
    assert known.encode_document(["aa", "b", "aa"]).tolist() == [[2, 1], [1, 1], [2, 1]]
    assert known.encode_document(["ccc", "b"]).tolist() == [[3, 1], [1, 1]]
    assert known.encode_query(["b"]).tolist() == [[1, 0]]
    assert asked == [("document", ["aa", "b"]), ("document", ["ccc"]), ("query", ["b"])]


def test_a_noisy_rotation_keeps_what_its_noise_leaves():
    """Vectors at a cosine of 1 / sqrt(1 + noise²) to those of the rotation alone."""
    known = Remembered(open_encoder("hashing:128"))
    texts = texts_of("invented", documents=160, lessons=60, questions=30, seed=0)
    setting = Setting(known, texts, LoRAAdapter(), 0)
    plain, noisy = DRIFTS["rotation"](setting), DRIFTS["rotation-noise"](setting)
    cosine = float((plain.documents * noisy.documents).sum(axis=1).mean())
    assert cosine == pytest.approx(1 / np.sqrt(1.25), abs=0.02)
    assert plain.map is None
    assert np.allclose(np.linalg.norm(noisy.documents, axis=1), 1, atol=1e-5)


def test_whose_a_loss_is_by_hand():
    """Of eight questions a new encoder answers all, old documents lose two of them, and the index one more; at a share
    the index finds one that exact search does not."""

    def rows(*found):
        return np.where(np.isin(np.arange(8), found)[:, None], np.arange(8)[:, None], 9).astype(np.int32)

    arrays = {
        "exact.anew": rows(*range(8)),
        "exact.stale": rows(0, 1, 2, 3, 4, 5),
        "hnsw.stale": rows(0, 1, 2, 3, 4),
        "exact.mixed": np.stack([rows(), rows(0, 1)]),
        "hnsw.mixed": np.stack([rows(), rows(0, 1, 2)]),
    }
    asked = {name: np.arange(8, dtype=np.int32) for name in ("query", "document", "key")}
    result = DriftResult("lora", (Measured(0, None, arrays, asked, 10),))
    for measure in ("recall@1", "recall@10"):
        found = result.split("hnsw", "stale", measure)
        assert [part.difference for part in (found.total, found.encoder, found.index)] == [3 / 8, 2 / 8, 1 / 8]
        found = result.split("hnsw", "mixed", measure, share=1)
        assert [part.difference for part in (found.total, found.encoder, found.index)] == [5 / 8, 6 / 8, -1 / 8]
    assert result.nearest("hnsw", "stale") == 7 / 8
    assert result.relative("exact", "stale").value == 6 / 8


def test_a_ratio_and_its_interval():
    """Of means, over the questions; nothing where the reference finds nothing."""
    values, reference = np.array([1.0, 0, 0, 1] * 50), np.array([1.0, 1, 0, 1] * 50)
    found = ratio(values, reference)
    assert found.value == pytest.approx(2 / 3)
    assert found.low < found.value < found.high
    assert np.isnan(ratio(values, np.zeros(200)).value)
    same = ratio(reference, reference)
    assert (same.low, same.value, same.high) == (1, 1, 1)


@pytest.mark.minilm
def test_an_earlier_trial_is_confirmed_or_corrected(ran):
    """By the standard error of the difference; not at all where another number of documents is searched."""
    gathered = gather(ran)
    (record,) = [r for r in earlier(gathered).records if (r["what"], r["measure"]) == ("before", "recall@1")]
    assert record["verdict"].startswith(f"differs by {100 * record['now']:+.2f} points: other questions or documents")
    (one,), (told,) = gathered.sets, gathered.experiment.earlier
    here = float(one.lead.pooled("exact", "stale", "recall@10").mean())
    same = told.model_copy(update={"stale": (0.5, here)})
    assert compared(same, one, one.lead, "stale", "recall@10") == "confirmed"
    other = told.model_copy(update={"documents": 8000})
    assert compared(other, one, one.lead, "stale", "recall@10").startswith("not comparable")


@pytest.mark.minilm
def test_a_run_that_is_not_whole_has_a_report(ran, tmp_path):
    """Of the seeds that are there; without the lead drift, of the controls alone."""
    import shutil

    part = tmp_path / "small"
    shutil.copytree(ran, part)
    folder = DriftFolder(part)
    run = folder.run()
    for kept, told in (
        (["invented.0.questions", "invented.0.lora"], "This run is not complete"),
        (["invented.0.questions", "invented.0.rotation"], "Nothing has been measured yet"),
        ([], "Nothing has been measured yet"),
    ):
        folder.write_run(run.model_copy(update={"pieces": kept, "status": "incomplete", "finished": None}))
        report.write(part)
        assert told in (part / "report.md").read_text()
        assert any("incomplete" in said for said in verify(part))


def test_mistakes_are_sentences(tmp_path):
    """An unknown drift, set, index or bridge, shares that fall, a folder of something else, an encoder that is none."""
    study = study_class("drift")
    for wrong, told in (
        (config_of(drifts={"lroa": 1}), "expected one of lora, shuffled"),
        (config_of(sets=[{"name": "nothing", "documents": 50}]), "expected one of koziev"),
        (config_of(sets=2 * [{"name": "invented", "documents": 50}]), "twice"),
        (config_of() | {"indexes": ["hnws"]}, "indexes has 'hnws'"),
        (config_of() | {"indexes": ["exact"]}, "indexes has 'exact'"),
        (config_of() | {"over": "bridge"}, "expected one of procrustes"),
        (config_of() | {"shares": [0.5, 0.1]}, "must rise"),
        (config_of() | {"size": "full"}, r"no table \[full\]"),
    ):
        with pytest.raises(ConfigError, match=told):
            study.from_tables(wrong, source="test")
    one = study.from_tables(config_of(), source="test")
    with pytest.raises(InvalidInput, match=r"no table \[full\]"):
        one.sized("full")
    with pytest.raises(UnknownName, match="nothing"):
        one.part(["nothing"])
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="choose a new folder"):
        one.run(tmp_path, reporter=Quiet(), done=print)
    words = config_of() | {"encoder": "hashing:64"}
    with pytest.raises(InvalidInput, match="sentence-transformers"):
        study.from_tables(words, source="test").run(tmp_path / "out", reporter=Quiet(), done=print)


def test_sizes_have_folders_of_their_own():
    """--quick runs what its table says, into NAME-quick; the forecast says what, and the launch line how."""
    given = config_of() | {"launch": "adamem run small.toml"}
    given["quick"] = given["default"] | {"drifts": {"rotation": 1}}
    study = study_class("drift").from_tables(given, source="test")
    quick = study.sized("quick")
    assert (study.folder_name, quick.folder_name) == ("small", "small-quick")
    assert (study.experiment.launch, quick.experiment.launch) == (given["launch"], "adamem run small.toml --quick")
    assert quick.experiment.chosen.of_seed(0) == ["rotation"]
    assert study.experiment.chosen.of_seed(1) == ["lora"]
    again = validate(DriftExperiment, quick.experiment.resolved(), source="test")
    assert again.chosen == quick.experiment.chosen
    assert "rotation (1)" in quick.forecast(reporter=Quiet())
    assert "--only invented: at most 160 documents" in study.forecast(reporter=Quiet())


def test_exact_search_is_an_index_like_any_other():
    """It is what every loss is split by, so it must be able to take new vectors and be searched without effort."""
    exact = index_class("exact")
    assert exact.capabilities.exact
    assert exact.capabilities.replace
    assert not any(one.effort for one in exact.search_params)
