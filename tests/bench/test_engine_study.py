"""The study of the engine: what it measures is what happened, it goes on where it was, and its report follows."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from adamem import report
from adamem.bench import validate
from adamem.bench.context import alone_in
from adamem.bench.engine import EngineExperiment, EngineFolder, retention, run_engine, runner, scale
from adamem.bench.engine.config import EngineContestant, RetentionConfig, ScaleConfig, SetConfig
from adamem.bench.engine.rewording import reworded
from adamem.bench.engine.scores import TRIED, best, candidates, fused, judgements, scored
from adamem.bench.engine.sets import load_set
from adamem.data import Dataset, Qrels, load
from adamem.encoders import open_encoder
from adamem.errors import ConfigError, InvalidInput, StorageError, TrialFailed, UnknownName
from adamem.memory import Fusion, MemoryEngine, Timings
from adamem.memory.indexed import index_kind
from adamem.report import wording
from adamem.report.engine import tables
from adamem.report.engine.gathered import gather
from adamem.report.figures import fusions
from adamem.report.verify import verify
from adamem.studies import study_class

WORDS = ["heart", "liver", "lung", "kidney", "skin", "bone", "blood", "nerve", "muscle", "brain", "eye", "ear"]
KINDS = ("fever", "rash", "pain", "cough")


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.said = []

    def stage(self, what, total):
        self.said.append(what)

    def now(self, what):
        self.said.append(what)

    def advance(self, steps=1.0):
        pass

    def say(self, sentence):
        self.said.append(sentence)


def written(folder, name, records):
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """48 answers, and a question to each in MedQuAD's words."""
    folder = tmp_path_factory.mktemp("texts") / "own"
    folder.mkdir()
    facts = [(word, kind) for word in WORDS for kind in KINDS]
    written(
        folder,
        "corpus",
        (
            {"_id": f"a{n}", "text": f"A {kind} of the {word} goes away by itself, number {n}"}
            for n, (word, kind) in enumerate(facts)
        ),
    )
    written(
        folder,
        "queries",
        ({"_id": f"q{n}", "text": f"What are the symptoms of {word} {kind} ?"} for n, (word, kind) in enumerate(facts)),
    )
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\ta{n}\t1" for n in range(len(facts)))]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    return folder


def config_of(collection, **others):
    own = str(collection)
    return {
        "name": "small",
        "title": "A small engine",
        "study": "engine",
        "encoder": "hashing:64",
        "encoded": 3,
        "set": [{"key": "own", "dataset": own, "language": "English"}],
        "contestant": [{"name": "exact", "index": "exact"}, {"name": "spiral", "index": "spiral"}],
        "answers": {"dataset": own, "queries": 30},
        "retention": {"dataset": own, "first": 0.25, "stages": [0.25, 1.0]},
        "namespaces": {"count": 12, "each": 5, "asked": 6, "dim": 16},
        **others,
    }


@pytest.fixture(scope="module")
def ran(collection, tmp_path_factory):
    """A whole run, with its report."""
    out = tmp_path_factory.mktemp("run") / "small"
    experiment = validate(EngineExperiment, config_of(collection), source="test")
    return run_engine(experiment, out, only=None, reporter=Quiet(), done=report.write)


def test_a_whole_run_and_its_report(ran):
    """Every piece is there, the pages say what was found, and all follows from the raw files."""
    run = EngineFolder(ran).run()
    assert run.status == "complete"
    assert run.finished is not None
    assert run.pieces == [
        *("own.questions", "own.development", "own.exact", "own.spiral"),
        *("answers", "retention.exact", "retention.spiral", "namespaces"),
    ]
    assert verify(ran) == []
    page = (ran / "report.md").read_text()
    for heading in ("What does the engine find?", "Weighing vectors and words", "What came first", "Much of it"):
        assert heading in page
    spec = EngineFolder(ran).piece("own.spiral").spec["kind"]["search"]
    assert f"Asked were spiral with {wording.params(spec)}. Up to" in tables.underneath(gather(ran)).notes[0]
    assert "ef=" in wording.params(spec)
    assert report.page(ran).name == "report.html"
    assert "nDCG@10" in str(report.summary(ran).renderables[0].columns[7].header)


def test_what_is_measured_is_what_the_engine_finds(ran, collection, tmp_path):
    """The recorded rows are those that an engine gives which is filled by hand."""
    encoder = open_encoder("hashing:64")
    arrays, asked = EngineFolder(ran).arrays("own.exact"), EngineFolder(ran).arrays("own.questions")
    data = load_set(SetConfig(key="own", dataset=str(collection)), encoder, seed=0, reporter=Quiet())
    assert asked["test"].tolist() == data.test.tolist()
    with MemoryEngine(tmp_path / "by-hand.db", encoder=encoder, index="exact") as engine:
        engine.add_many(data.texts.rows)
        for place, query in enumerate(asked["test"][:10].tolist()):
            for mode in ("vector", "lexical", "hybrid"):
                hits = engine.search(data.texts.queries[query], top_k=10, mode=mode)
                found = arrays[f"{mode}_rows"][place]
                assert [hit.memory.id - 1 for hit in hits] == found[found >= 0].tolist()
    assert (arrays["vector_ns"] > 0).all()
    for mode in ("vector", "lexical", "hybrid", "tuned"):
        # The whole call has its parts in it; each part is rounded.
        assert (arrays[f"{mode}_whole_ns"] >= arrays[f"{mode}_ns"].sum(axis=1) - 2).all()
    for record in tables.latency(gather(ran)).records:
        if record["mode"] != "encode":
            assert record["whole_p50_ms"] > max(record["search_p50_ms"], record["fetch_p50_ms"])
    assert arrays["encode_ns"].shape == (3,)
    assert not np.intersect1d(asked["test"], asked["development"]).size


def test_the_fusion_is_chosen_on_the_development_queries_as_the_engine_fuses(ran, collection, tmp_path):
    """Fusing recorded rankings gives what the engine gives, for several fusions; the best of all is what was asked."""
    folder = EngineFolder(ran)
    asked, rankings = folder.arrays("own.questions"), folder.arrays("own.development")
    qrels = judgements(asked, asked["development"])
    tried = candidates(rankings, qrels)
    assert len(tried) == len(TRIED)
    assert max(one.mean for one in tried) == pytest.approx(best(tried).mean)
    spec = folder.piece("own.exact").spec["tuned"]
    assert Fusion(**spec) == best(tried).fusion
    encoder = open_encoder("hashing:64")
    data = load_set(SetConfig(key="own", dataset=str(collection)), encoder, seed=0, reporter=Quiet())
    with MemoryEngine(tmp_path / "by-hand.db", encoder=encoder, index="exact") as engine:
        engine.add_many(data.texts.rows)
        for fusion in (TRIED[3], TRIED[-3]):
            rows = fused(rankings, fusion)
            for place, query in enumerate(asked["development"].tolist()):
                hits = engine.search(data.texts.queries[query], top_k=10, mode="hybrid", fusion=fusion)
                assert [hit.memory.id - 1 for hit in hits] == rows[place][rows[place] >= 0].tolist()


def test_either_alone_is_tried_once_and_of_equal_ones_the_most_even_is_chosen(ran):
    """The ends are the recorded rankings themselves; where all find the same, the middle is chosen."""
    folder = EngineFolder(ran)
    rankings, asked = folder.arrays("own.development"), folder.arrays("own.questions")
    ends = [fusion for fusion in TRIED if not 0 < fusion.vector < 1]
    assert [(fusion.vector, fusion.lexical) for fusion in ends] == [(1, 0), (0, 1)]
    for fusion, name in zip(ends, ("vector", "lexical"), strict=True):
        rows, alone = fused(rankings, fusion), rankings[f"{name}_rows"][:, :10]
        assert (rows[alone >= 0] == alone[alone >= 0]).all()
    qrels = judgements(asked, asked["development"])
    alone = tables.weights(gather(ran)).records[0]
    for name, column in (("vector", "ndcg_vectors"), ("lexical", "ndcg_words")):
        assert alone[column] == scored(rankings[f"{name}_rows"][:, :10], qrels, 10).ndcg.mean()
    tried = candidates(rankings, qrels)
    assert {one.kind for one in tried} == {"rrf", "weighted", "alone"}
    level = [replace(one, ndcg=np.ones(3)) for one in tried]
    assert best(level).fusion == Fusion(kind="rrf", vector=0.5, lexical=0.5)
    by_words = [replace(one, ndcg=np.full(3, 1.0 if one.share < 0.05 else 0.5)) for one in tried]
    assert best(by_words).share == 0.02
    only_words = [replace(one, ndcg=np.full(3, 1.0 - one.share)) for one in tried]
    assert best(only_words).kind == "alone"


def test_where_one_alone_was_chosen_the_report_says_so(ran):
    """The table of weights, the note under the comparison, and the figure."""
    gathered = gather(ran)
    (one,) = gathered.sets
    words = replace(one, tried=[replace(t, ndcg=np.full(t.ndcg.shape, 1.0 - t.share)) for t in one.tried])
    told = replace(gathered, sets=[words])
    assert [cell.text for cell in tables.weights(told).groups[0].rows[0][2:4]] == ["–", "0 : 1"]
    assert tables.weights(told).records[0]["kind"] == "alone"
    assert "all weight to one of the two on own" in tables.hybrid(told).notes[0]
    assert "all weight to one" not in tables.hybrid(replace(gathered, sets=[_even(one)])).notes[0]
    figure = fusions.data(told)
    assert figure.alt == "Chosen: own: words alone."
    vectors = replace(one, tried=[replace(t, ndcg=np.full(t.ndcg.shape, t.share)) for t in one.tried])
    assert fusions.data(replace(gathered, sets=[vectors])).alt == "Chosen: own: vectors alone."
    for svg_or_png in fusions.draw(figure.records, {}):
        assert svg_or_png


def _even(one):
    return replace(one, tried=[replace(t, ndcg=np.full(t.ndcg.shape, 1.0)) for t in one.tried])


def test_evidence_is_counted(ran):
    """A ranking with the evidence on the second place has the quality of that."""
    asked = EngineFolder(ran).arrays("own.questions")
    qrels = judgements(asked, asked["test"])
    rows = np.full((asked["test"].size, 10), -1)
    rows[:, 1] = asked["test"]
    found = scored(rows, qrels, 10)
    assert np.allclose(found.mrr, 1.0)  # an empty place is none
    rows[:, 0] = (asked["test"] + 1) % 48
    found = scored(rows, qrels, 10)
    assert np.allclose(found.mrr, 0.5)
    assert np.allclose(found.ndcg, 1 / np.log2(3))
    assert np.allclose(scored(rows, qrels, 1).recall_any, 0.0)


def test_what_is_whole_is_not_measured_again(ran, collection):
    """A second run measures nothing; one of other words measures what depends on them."""
    before = {path.name: path.stat().st_mtime_ns for path in (ran / "raw").iterdir()}
    experiment = validate(EngineExperiment, config_of(collection), source="test")
    run_engine(experiment, ran, only=("own", "answers"), reporter=Quiet(), done=report.write)
    assert {path.name: path.stat().st_mtime_ns for path in (ran / "raw").iterdir()} == before
    (ran / "raw" / "retention.spiral.npz").write_bytes(b"damaged")
    assert any("retention.spiral" in said for said in verify(ran))
    run_engine(experiment, ran, only=None, reporter=Quiet(), done=report.write)
    after = {path.name: path.stat().st_mtime_ns for path in (ran / "raw").iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"retention.spiral.npz", "retention.spiral.json"}
    assert verify(ran) == []


def mtimes(folder):
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "raw").glob("*.json")}


def test_another_config_measures_what_depends_on_it(collection, tmp_path):
    """Of a contestant asked otherwise only its own pieces are measured anew, and none counts before it was come to."""
    small = {"answers": None, "namespaces": None}
    out = tmp_path / "out"
    first = validate(EngineExperiment, config_of(collection, **small), source="test")
    run_engine(first, out, only=None, reporter=Quiet(), done=report.write)
    before = mtimes(out)
    of_own = ["own.questions", "own.development", "own.exact", "own.spiral"]
    assert EngineFolder(out).run().pieces == [*of_own, "retention.exact", "retention.spiral"]
    wider = [{"name": "exact", "index": "exact"}, {"name": "spiral", "index": "spiral", "search": {"ef": 77}}]
    second = validate(EngineExperiment, config_of(collection, contestant=wider, **small), source="test")
    run_engine(second, out, only=("own",), reporter=Quiet(), done=report.write)
    run = EngineFolder(out).run()
    assert run.pieces == of_own
    assert run.status == "incomplete"
    assert {name for name, time in mtimes(out).items() if time != before[name]} == {"own.spiral"}
    run_engine(second, out, only=None, reporter=Quiet(), done=report.write)
    run = EngineFolder(out).run()
    assert run.status == "complete"
    assert {name for name, time in mtimes(out).items() if time != before[name]} == {"own.spiral", "retention.spiral"}
    assert EngineFolder(out).piece("own.spiral").spec["kind"]["search"]["ef"] == 77
    assert verify(out) == []


def test_what_the_engine_asks_of_an_index_by_itself_makes_pieces_stale(collection, tmp_path, monkeypatch):
    """Other defaults of the engine's measure anew what lies over that index, and count nothing of the former."""
    out = tmp_path / "out"
    experiment = validate(EngineExperiment, config_of(collection, answers=None), source="test")
    run_engine(experiment, out, only=None, reporter=Quiet(), done=report.write)
    before = mtimes(out)

    def otherwise(name, build, search):
        kind = index_kind(name, build, search)
        return replace(kind, search={**kind.search, "ef": 99}) if name == "spiral" else kind

    monkeypatch.setattr(runner, "index_kind", otherwise)
    run_engine(experiment, out, only=("own",), reporter=Quiet(), done=report.write)
    run = EngineFolder(out).run()
    assert run.pieces == ["own.questions", "own.development", "own.exact", "own.spiral", "retention.exact"]
    run_engine(experiment, out, only=None, reporter=Quiet(), done=report.write)
    assert EngineFolder(out).run().status == "complete"
    changed = {name for name, time in mtimes(out).items() if time != before[name]}
    assert changed == {"own.spiral", "retention.spiral", "namespaces"}


def test_much_of_it_is_asked_in_the_texts_own_questions_and_loses_what_holds(tmp_path, monkeypatch):
    """3,000 memories: what was found, what was asked, and what a deletion took."""
    random = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("ale", "ino", "oru", "una", "eki", "asto")]
    texts = [" ".join(random.choice(words, 7)) for _ in range(3000)]
    asked = [f"who told of {' '.join(random.choice(words, 3))} ?" for _ in range(50)]
    folder = tmp_path / "many"
    folder.mkdir()
    written(folder, "corpus", ({"_id": f"a{n}", "text": text} for n, text in enumerate(texts)))
    written(folder, "queries", ({"_id": f"q{n}", "text": text} for n, text in enumerate(asked)))
    (folder / "qrels.tsv").write_text("\n".join(f"q{n}\ta{n}\t1" for n in range(50)) + "\n")
    heard = {"lexical": [], "hybrid": []}

    class Hearing(MemoryEngine):
        def search(self, query=None, **how):
            heard.get(how.get("mode"), []).append(query)
            return super().search(query, **how)

    monkeypatch.setattr(scale, "MemoryEngine", Hearing)
    config = ScaleConfig(dataset=str(folder), texts=str(folder), sizes=[3000], queries=30)
    arrays, facts = scale.measure_scale(config, 3000, "hashing:64", str(tmp_path), 0)
    data = load(str(folder), encoder=open_encoder("hashing:64"))
    chosen = np.random.default_rng([0, 4]).permutation(50)[:30]
    assert heard["lexical"] == [asked[number] for number in chosen]
    assert heard["hybrid"] == heard["lexical"][1:]
    assert arrays["rows"].shape == arrays["true_rows"].shape == (30, 10)
    cosines = (data.queries[chosen] @ data.base.T) / np.linalg.norm(data.queries[chosen], axis=1)[:, None]
    tenth = np.sort(cosines, axis=1)[:, -10]
    assert (np.take_along_axis(cosines, arrays["true_rows"], axis=1) >= tenth[:, None] - 1e-5).all()
    assert (arrays["true_rows"][:, :, None] == arrays["rows"][:, None, :]).any(axis=2).mean() > 0.8
    for name, count in (("vector", 30), ("lexical", 29), ("hybrid", 29), ("add", 30), ("get", 30), ("delete", 30)):
        assert arrays[f"{name}_ns"].shape == (count,)
        assert (arrays[f"{name}_ns"] > 0).all()
    assert arrays["acknowledged_ns"].shape == (1,)
    # Thirty were added and superseded, and those that superseded them are deleted.
    assert (facts["memories"], facts["held"], facts["history"], facts["deleted"]) == (3000, 3000, 30, 30)
    assert facts["peak_bytes"] >= facts["begun_with_bytes"] > 0


HELD = """
import sys
from pathlib import Path
import numpy as np
from adamem.bench.engine import scale
def no_proc(*_, **__):
    raise FileNotFoundError
if sys.argv[1] == "no /proc":
    Path.read_text = no_proc
held = np.ones(40_000_000)
resident = scale._resident()
assert resident > held.nbytes
del held
print(resident, scale._peak(), scale._resident())
"""


@pytest.mark.parametrize("where", ["/proc", "no /proc"])
def test_the_peak_is_what_was_held_at_most(where):
    """It stays when the memory is given back; without /proc as well."""
    done = subprocess.run([sys.executable, "-c", HELD, where], capture_output=True, text=True, check=True)
    held, peak, left = map(int, done.stdout.split())
    assert peak > 0.95 * held > left  # the system counts pages a little behind


def two_passages_each(documents):
    """Rows i and i + `documents` are of document i; query i is near to the second of them."""
    random = np.random.default_rng(1)
    base = random.normal(size=(2 * documents, 24)).astype(np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    number = np.arange(documents)
    qrels = Qrels(number, number, np.ones(documents, np.int64), np.concatenate([number, number]))
    return Dataset("two", "cosine", base, base[documents:].copy(), "", qrels=qrels)


def test_whole_documents_come_first_and_one_passage_of_a_document_is_enough(ran, tmp_path, monkeypatch):
    """Two passages a document: no document is cut, a document is one piece of evidence, and exact search keeps all."""
    data = two_passages_each(60)
    monkeypatch.setattr(retention, "load", lambda *_, **__: data)
    config = RetentionConfig(dataset="two", first=0.1, stages=[0.1, 1.0], queries=500)
    encoder = open_encoder("hashing:24")
    stream = retention.load_stream(config, encoder, seed=0, progress=lambda *_: None)
    came_first = data.qrels.document_of_row[stream.order[: stream.first]]
    assert stream.first == 12
    assert (np.bincount(came_first)[np.unique(came_first)] == 2).all()
    assert stream.queries.shape == (6, 24)
    assert np.bincount(stream.query).tolist() == [2] * 6
    exact = EngineContestant(name="exact", index="exact")
    arrays = retention.measure_retention(stream, config, encoder, exact, tmp_path / "m.db", advance=lambda: None)
    assert arrays["added"].tolist() == [12, 120]
    # Not every passage is among the last ten, and every document is.
    there = (arrays["rows"][1][stream.query] == stream.row[:, None]).any(axis=1)
    assert not there.all()
    gathered = gather(ran)
    piece, _ = gathered.other["retention.exact"]
    found = tables.retained(replace(gathered, other={"retention.exact": (piece, arrays)}))
    assert [one["recall"] for one in found] == [1.0, 1.0]
    assert [one["kept"] for one in found] == [1.0, 1.0]
    assert [one["queries"] for one in found] == [6, 6]


def test_what_an_index_keeps_of_what_exact_search_finds(ran):
    """Only memories that came first count as kept; a query with two documents has half where one is found."""
    gathered = gather(ran)
    piece, _ = gathered.other["retention.exact"]
    told = {
        "added": np.array([20]),
        "first": np.array([4]),
        # Query 0 is about documents 7 (memories 0 and 1) and 8 (memories 2 and 3), query 1 about document 8.
        "query": np.array([0, 0, 0, 0, 1, 1]),
        "row": np.array([0, 1, 2, 3, 2, 3]),
        "document": np.array([7, 7, 8, 8, 8, 8]),
    }
    exact = told | {"rows": np.array([[[0, 9, 3, 11], [2, 3, 12, -1]]], np.int32)}
    spiral = told | {"rows": np.array([[[1, 9, 0, 11], [3, 13, 14, -1]]], np.int32)}
    other = {"retention.exact": (piece, exact), "retention.spiral": (piece, spiral)}
    true, found = tables.retained(replace(gathered, other=other))
    assert (true["recall"], true["kept"]) == (1.0, 1.0)
    assert (found["recall"], found["kept"]) == (0.75, 0.5)
    # Of all that exact search finds, first or not, 9, 0, 11 and 3 of seven.
    assert tables._same(spiral["rows"][0], exact["rows"][0]) == pytest.approx(4 / 7)


def test_a_documents_passages_are_one_piece_of_evidence():
    """Each document has one place, that of its first passage, and is found with any of them."""
    arrays = {
        "query": np.array([5, 5]),
        "document": np.array([1, 2]),
        "grade": np.array([1, 1]),
        "document_of_row": np.array([0, 0, 1, 1, 2, 2]),
    }
    qrels = judgements(arrays, np.array([5]))
    # Two passages of document 0 are one place: document 1 comes second, by its second passage.
    found = scored(np.array([[0, 1, 3, 2, -1]]), qrels, 10)
    assert found.mrr.tolist() == [0.5]
    assert found.recall_fraction.tolist() == [0.5]
    assert found.recall_all.tolist() == [0.0]


def test_the_control_is_told_with_the_words_that_its_queries_share(ran, collection):
    """Whether a query has a stem in common with its evidence; what is found of those that have, and of the others."""
    data = load_set(SetConfig(key="own", dataset=str(collection)), open_encoder("hashing:64"), seed=0, reporter=Quiet())
    strange = [f"чужое слово {n}" if n % 4 else f"Чужой HEART, лихорадка {n}" for n in range(48)]
    texts = replace(
        data.texts,
        queries=tuple(strange),
        rows=tuple(row.split(",")[0].replace("heart", "hearts") for row in data.texts.rows),
    )
    shared = replace(data, texts=texts).shared(np.arange(48))
    assert shared.tolist() == [n == 0 for n in range(48)]
    assert data.shared(data.test).all()
    gathered = gather(ran)
    (one,) = gathered.sets
    assert one.shared.all()
    assert not any("control" in note for note in tables.evidence(gathered).notes)
    some = np.arange(one.shared.size) < 5
    rows = one.first.rows("lexical").copy()
    rows[~some] = -1
    first = replace(one.first, arrays=one.first.arrays | {"lexical_rows": rows})
    words = first.quality("lexical").ndcg
    assert words[some].mean() > words[~some].mean() == 0
    config = one.config.model_copy(update={"control": True})
    control = replace(one, config=config, shared=some, over={"exact": first})
    (note,) = [n for n in tables.evidence(replace(gathered, sets=[control])).notes if "control" in n]
    assert f"words {wording.score(words.mean())}; {wording.percent(some.mean())} of its queries have a word" in note
    assert (
        f"words find {wording.score(words[some].mean())}, for the others {wording.score(words[~some].mean())}." in note
    )


def test_two_runs_keep_out_of_each_others_folder_and_what_a_killed_one_left_is_gone(collection, tmp_path):
    """The second is told so; scratch files of one that was killed do not stay."""
    experiment = validate(EngineExperiment, config_of(collection), source="test")
    out = tmp_path / "out"
    (out / ".scratch" / "left").mkdir(parents=True)
    with alone_in(out), pytest.raises(StorageError, match="another process"):
        run_engine(experiment, out, only=("namespaces",), reporter=Quiet(), done=report.write)
    run_engine(experiment, out, only=("namespaces",), reporter=Quiet(), done=report.write)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_an_altered_figure_is_found(ran):
    """A table's cell, a page, a raw record."""
    for name, old, new in (("tables/evidence.csv", "own", "0wn"), ("report.md", "own", "0wn")):
        kept = (ran / name).read_bytes()
        (ran / name).write_bytes(kept.replace(old.encode(), new.encode(), 1))
        assert any(name.split("/")[-1] in said for said in verify(ran))
        (ran / name).write_bytes(kept)
    assert verify(ran) == []


def test_one_part_after_the_other(collection, tmp_path):
    """--only measures a part, says that the run is not whole, and the rest comes with the next."""
    study = study_class("engine").from_tables(config_of(collection), source="test")
    with pytest.raises(UnknownName, match="namespaces"):
        study.part(["nothing"])
    told = []
    out = study.part(["namespaces"]).run(tmp_path / "out", reporter=Quiet(), done=told.append)
    assert told == [out]
    assert EngineFolder(out).run().pieces == ["namespaces"]
    assert EngineFolder(out).run().status == "incomplete"
    report.write(out)
    assert "Many small namespaces" in (out / "report.md").read_text()


def test_a_query_is_asked_in_the_course_of_time(tmp_path):
    """Each in its own scope, after what was said up to its order and nothing later."""
    card = tmp_path / "cards"
    card.mkdir()
    folder = tmp_path / "told"
    folder.mkdir()
    rows = [{"_id": f"a{n}", "text": f"fact {n}", "who": "ab"[n % 2], "when": n} for n in range(40)]
    asked = [{"_id": f"q{n}", "text": f"fact {n} ?", "who": "ab"[n % 2], "when": n + 2} for n in range(38)]
    written(folder, "corpus", rows)
    written(folder, "queries", asked)
    (folder / "qrels.tsv").write_text("\n".join(f"q{n}\ta{n}\t1" for n in range(38)) + "\n")
    from adamem.data.texts import read_collection

    texts = read_collection(
        "told",
        corpus=folder / "corpus.jsonl.gz",
        queries=folder / "queries.jsonl.gz",
        qrels=folder / "qrels.tsv",
        scope_field="who",
        order_field="when",
    )
    data = load_set(SetConfig(key="told", dataset=str(folder)), open_encoder("hashing:16"), seed=0, reporter=Quiet())
    data = replace(data, texts=texts)
    said: dict[str, list[int]] = {"a": [], "b": []}
    seen = []
    for scope, now, queries in data.script(data.test):
        said[scope] += now.tolist()
        for query in queries.tolist():
            seen.append(query)
            assert scope == asked[query]["who"]
            known = [n for n in range(40) if rows[n]["who"] == scope and n <= asked[query]["when"]]
            assert sorted(said[scope]) == known
    assert sorted(seen) == data.test.tolist()


def test_mistakes_are_sentences(collection, tmp_path, monkeypatch):
    """A wrong index, too few queries, a folder of something else, a set that is not here."""
    wrong = config_of(collection, contestant=[{"name": "x", "index": "nothing"}])
    with pytest.raises(UnknownName, match="nothing"):
        study_class("engine").from_tables(wrong, source="test").run(tmp_path / "a", reporter=Quiet(), done=print)
    twice = config_of(collection, set=[{"key": "own", "dataset": "x"}] * 2)
    with pytest.raises(ConfigError, match="two of"):
        study_class("engine").from_tables(twice, source="test")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    good = study_class("engine").from_tables(config_of(collection), source="test")
    with pytest.raises(InvalidInput, match="choose"):
        good.run(tmp_path / "b", reporter=Quiet(), done=print)
    alone = {"answers": None, "retention": None, "namespaces": None}
    vectors = config_of(collection, set=[{"key": "gone", "dataset": "glove-25-angular"}], **alone)
    with pytest.raises(InvalidInput, match="holds vectors, not texts"):
        study_class("engine").from_tables(vectors, source="test").run(tmp_path / "c", reporter=Quiet(), done=print)
    monkeypatch.setenv("ADAMEM_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("ADAMEM_CACHE", str(tmp_path / "cache"))
    absent = config_of(collection, set=[{"key": "gone", "dataset": "ntrex-ru2en"}], **alone)
    study = study_class("engine").from_tables(absent, source="test")
    assert "--only gone: ntrex-ru2en, up to 2,000 test queries; not on this machine" in study.forecast(reporter=Quiet())
    with pytest.raises(TrialFailed, match="1 of 1 parts could not be measured: gone: "):
        study.run(tmp_path / "d", reporter=Quiet(), done=print)
    assert list(EngineFolder(tmp_path / "d").run().absent) == ["gone"]


def test_questions_in_other_words():
    """None of the question's own words stays but the name."""
    assert (
        reworded("What are the symptoms of Adult Acute Leukemia ?") == "How would someone notice Adult Acute Leukemia?"
    )
    assert reworded("Is Retinoblastoma inherited ?") == "Does Retinoblastoma run in families?"
    assert reworded("Why not?") is None


def test_a_search_tells_what_it_took(tmp_path):
    """Timings add up, part by part; words need no vector."""
    with MemoryEngine(tmp_path / "m.db", encoder="hashing:32") as engine:
        engine.add_many([f"memory {n}" for n in range(20)])
        spent = Timings()
        engine.search("memory 3", mode="hybrid", timings=spent)
        assert spent.encode > 0
        assert spent.search > 0
        assert spent.fetch > 0
        once = spent.search
        engine.search("memory 3", mode="lexical", timings=spent)
        assert spent.search > once
        words = Timings()
        engine.search("memory 3", mode="lexical", timings=words)
        assert words.encode < spent.encode
        with pytest.raises(InvalidInput, match="Timings"):
            engine.search("memory 3", timings=3)
