import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from adamem.data import load, load_texts
from adamem.data.embed import PIECE
from adamem.encoders import open_encoder
from adamem.errors import DataError, InvalidInput

DOCUMENTS = {"d1": "the cat sat", "d2": "dogs bark at night", "d3": "the cat sat", "d4": "rain in spring"}
QUERIES = {"q1": "where is the cat", "q2": "what barks", "q3": "where is the cat"}
QRELS = [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1), ("q3", "d4", 0), ("q3", "d1", 1)]


class Counting:
    """The real hashing encoder, with a note of what it was given."""

    def __init__(self):
        self.inner = open_encoder("hashing:64")
        self.name, self.dim, self.fingerprint = self.inner.name, self.inner.dim, self.inner.fingerprint
        self.seen = []

    def encode_query(self, texts):
        self.seen.extend(texts)
        return self.inner.encode_query(texts)

    def encode_document(self, texts):
        self.seen.extend(texts)
        return self.inner.encode_document(texts)


def write_collection(folder, *, qrels="qrels.tsv", pack=False):
    folder.mkdir(exist_ok=True)
    (folder / qrels).parent.mkdir(exist_ok=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = "".join(json.dumps({"_id": key, "text": text, "kind": key[-1]}) + "\n" for key, text in texts.items())
        if pack:
            (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        else:
            (folder / f"{name}.jsonl").write_text(lines)
    rows = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in QRELS)
    (folder / qrels).write_text("query-id\tcorpus-id\tscore\n" + rows)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_collection(tmp_path / "talk")


@pytest.mark.parametrize("pack", [False, True])
def test_a_byte_order_mark_is_no_part_of_a_text(folder, pack):
    """Files that an editor saved with one, gzipped or not, with or without a header, are read like any others."""
    plain = load_texts(folder)
    qrels = folder / "qrels.tsv"
    qrels.write_text(qrels.read_text().partition("\n")[2])
    for file in list(folder.iterdir()):
        marked = b"\xef\xbb\xbf" + file.read_bytes()
        file.unlink()
        (folder / f"{file.name}.gz" if pack else file).write_bytes(gzip.compress(marked) if pack else marked)
    found = load_texts(folder)
    assert (found.rows, found.row_ids, found.query_ids) == (plain.rows, plain.row_ids, plain.query_ids)
    assert np.array_equal(found.qrels.query, plain.qrels.query)


@pytest.mark.parametrize("pack", [False, True])
def test_a_collection_becomes_vectors_with_judgements(tmp_path, pack):
    """corpus, queries and qrels, gzipped or not: one row a document, judgements above 0, cosine by default."""
    encoder = open_encoder("hashing:64")
    found = load(write_collection(tmp_path / "talk", pack=pack), encoder=encoder)
    assert found.metric == "cosine"
    assert np.array_equal(found.base, encoder.encode_document(list(DOCUMENTS.values())))
    assert np.array_equal(found.queries, encoder.encode_query(list(QUERIES.values())))
    assert found.base_ids == tuple(DOCUMENTS)
    assert found.query_ids == tuple(QUERIES)
    judged = list(zip(found.qrels.query, found.qrels.document, found.qrels.grade, strict=True))
    assert judged == [(0, 0, 2), (0, 2, 1), (1, 1, 1), (2, 0, 1)]
    assert found.qrels.document_of_row.tolist() == [0, 1, 2, 3]
    assert found.provenance["encoder"]["fingerprint"] == encoder.fingerprint


def test_the_title_stands_before_the_text(tmp_path):
    """As in BEIR, a document's title is embedded together with its text."""
    folder = write_collection(tmp_path / "talk")
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": key, "title": "T", "text": text}) + "\n" for key, text in DOCUMENTS.items())
    )
    assert load_texts(folder).rows[0] == "T the cat sat"


def test_beir_splits_keep_judged_queries_only(tmp_path):
    """With qrels/test.tsv, queries of other splits are left out; with qrels.tsv every query stays."""
    folder = write_collection(tmp_path / "talk", qrels="qrels/test.tsv")
    with open(folder / "queries.jsonl", "a") as stream:
        stream.write('{"_id": "train-1", "text": "of another split"}\n')
    assert load_texts(folder).query_ids == tuple(QUERIES)
    (folder / "qrels" / "test.tsv").rename(folder / "qrels.tsv")
    assert load_texts(folder).query_ids == (*QUERIES, "train-1")


def test_equal_texts_are_embedded_once(folder):
    """The encoder sees each distinct text once; rows of equal texts are equal."""
    encoder = Counting()
    found = load(folder, encoder=encoder)
    assert encoder.seen == ["the cat sat", "dogs bark at night", "rain in spring", "where is the cat", "what barks"]
    assert np.array_equal(found.base[0], found.base[2])
    assert not np.array_equal(found.base[0], found.base[1])
    assert found.provenance["distinct_texts"] == {"base": 3, "queries": 2}


def test_embeddings_are_cached_by_text_and_encoder(folder):
    """A second load embeds nothing; another encoder, or another verb for the same text, does."""
    load(folder, encoder=Counting())
    again = Counting()
    load(folder, encoder=again)
    assert not again.seen
    other = Counting()
    other.fingerprint = "0" * 64
    load(folder, encoder=other)
    assert len(other.seen) == 5


def test_only_what_is_asked_for_is_embedded(tmp_path):
    """limit and queries cut before the encoder; whole pieces made for a small limit serve a larger one."""
    folder = write_collection(tmp_path / "talk")
    many = {f"d{i}": f"fact number {i}" for i in range(2 * PIECE + 10)}
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": k, "text": t}) + "\n" for k, t in many.items()))
    few = Counting()
    load(folder, encoder=few, limit=PIECE, queries=1)
    assert len(few.seen) == PIECE + 1
    all_of_them = Counting()
    found = load(folder, encoder=all_of_them, queries=1)
    assert len(all_of_them.seen) == PIECE + 10
    assert np.array_equal(found.base, few.inner.encode_document(list(many.values())))


def test_a_limit_drops_judgements_of_what_is_gone(folder):
    """Judgements of documents beyond the limit are left out; those of the others stay."""
    found = load(folder, encoder=open_encoder("hashing:64"), limit=2)
    judged = list(zip(found.qrels.query, found.qrels.document, strict=True))
    assert judged == [(0, 0), (1, 1), (2, 0)]
    assert found.qrels.document_of_row.tolist() == [0, 1]


def test_a_sample_of_queries_keeps_its_judgements(folder):
    """Sampled queries are distinct texts, and each keeps its own judgements under its new number."""
    found = load(folder, encoder=open_encoder("hashing:64"), queries=3)
    assert found.query_ids == ("q1", "q2")
    judged = list(zip(found.qrels.query, found.qrels.document, strict=True))
    assert judged == [(0, 0), (0, 2), (1, 1)]
    for seed in range(6):
        one = load(folder, encoder=open_encoder("hashing:64"), queries=1, seed=seed)
        wanted = {("q1"): [0, 2], ("q2"): [1]}[one.query_ids[0]]
        assert one.qrels.document.tolist() == wanted
        assert set(one.qrels.query.tolist()) == {0}


def test_progress_counts_distinct_texts(folder):
    """The callable hears how many texts are embedded, of how many, and by whom."""
    heard = []
    load(folder, encoder=open_encoder("hashing:64"), progress=lambda *told: heard.append(told))
    assert (3, 3, "embedding base with hashing:64") in heard
    assert (2, 2, "embedding queries with hashing:64") in heard


def test_a_damaged_embedding_is_made_again(folder, cache, caplog):
    """A flipped byte in a cached piece is noticed by its checksum, said, and embedded again."""
    first = load(folder, encoder=Counting())
    for piece in (cache / "embeddings").rglob("*.bin"):
        raw = bytearray(piece.read_bytes())
        raw[40] ^= 1
        piece.write_bytes(raw)
    for file in (cache / "prepared").rglob("manifest.json"):
        file.unlink()
    encoder = Counting()
    again = load(folder, encoder=encoder)
    assert len(encoder.seen) == 5
    assert "are damaged; these 3 texts are embedded again" in caplog.text
    assert again.fingerprint == first.fingerprint


def test_a_kill_loses_only_the_piece_in_the_making(tmp_path, cache):
    """kill -9 during a long embedding: the next run goes on after the last whole piece."""
    folder = write_collection(tmp_path / "talk")
    many = {f"d{i}": f"fact number {i}" for i in range(4 * PIECE)}
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": k, "text": t}) + "\n" for k, t in many.items()))
    script = """
        import os, signal, sys
        from adamem.data import load
        from adamem.encoders import open_encoder

        class Dies:
            def __init__(self):
                self.inner, self.calls = open_encoder("hashing:64"), 0
                self.name, self.dim, self.fingerprint = self.inner.name, self.inner.dim, self.inner.fingerprint
            def encode_document(self, texts):
                self.calls += 1
                if self.calls == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                return self.inner.encode_document(texts)
            encode_query = encode_document

        load(sys.argv[1], encoder=Dies())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    encoder = Counting()
    found = load(folder, encoder=encoder)
    assert len(encoder.seen) == 2 * PIECE + 2
    assert np.array_equal(found.base, encoder.inner.encode_document(list(many.values())))


def test_labels_become_judgements(tmp_path):
    """A labelled set: the train split is searched with the test split, and the same label is relevant."""
    records = [("a", "x", "train"), ("b", "y", "train"), ("c", "x", "train"), ("d", "x", "test"), ("e", "z", "test")]
    lines = [json.dumps({"_id": k, "text": f"text {k}", "label": v, "split": s}) + "\n" for k, v, s in records]
    (tmp_path / "labelled.jsonl").write_text("".join(lines))
    found = load(tmp_path, encoder=open_encoder("hashing:64"))
    assert found.base_ids == ("a", "b", "c")
    assert found.query_ids == ("d", "e")
    assert list(zip(found.qrels.query, found.qrels.document, strict=True)) == [(0, 0), (0, 2)]
    assert found.topics.tolist() == [0, 1]


def test_medquad_passages_are_those_of_the_minilm_vectors(real_data):
    """The cut gives 52,176 passages with exactly the names that minilm-medquad384 has, in its order."""
    cut = load_texts("medquad-passages")
    names = json.loads((real_data / "minilm-medquad384" / "base_ids.json").read_text())
    assert len(cut.rows) == 52_176
    assert list(cut.row_ids) == names
    assert len(set(cut.rows)) == len(cut.rows)
    whole = load_texts("medquad-en")
    last = cut.row_ids.index("a15810#1")
    assert cut.qrels.document_of_row[last] == 15810
    assert cut.rows[last] == " ".join(whole.rows[15810].split()[60:120])


@pytest.mark.parametrize(
    ("name", "rows", "queries", "judgements", "topics"),
    [
        ("medquad-en", 15_811, 14_979, 16_359, 9),
        ("realmem-en-dev", 2_795, 806, None, 6),
        ("rumeddanet-ru", 2_073, 2_076, None, None),
        ("ntrex-ru2en", 1_997, 1_997, 1_997, None),
        ("strategyqa-facts-en", 6_106, 2_290, None, None),
        ("banking77-en", 10_003, 3_080, None, 77),
    ],
)
def test_real_collections_have_their_shapes(real_data, name, rows, queries, judgements, topics):
    """Every text set of the mirror reads whole, with as many documents, queries and topics as it is known to have."""
    found = load_texts(name)
    assert (len(found.rows), len(found.queries)) == (rows, queries)
    assert judgements is None or len(found.qrels.query) == judgements
    assert topics == (None if found.topics is None else len(set(found.topics.tolist())))
    assert (np.diff(found.qrels.query) >= 0).all()


def test_pydocs_needs_no_files():
    """The embedded default: docstrings of the installed packages, each query with a relevant body."""
    found = load("pydocs", encoder=open_encoder("hashing:64"), limit=500, queries=50)
    assert found.base.shape == (500, 64)
    assert found.queries.shape == (50, 64)
    assert set(found.provenance["versions"]) == {"numpy", "scipy", "scikit-learn"}


def test_texts_need_an_encoder_and_vectors_take_none(folder, tmp_path):
    """Either mistake is an error that says what to do."""
    with pytest.raises(InvalidInput, match="'talk' holds texts, which need an encoder; name one"):
        load(folder)
    np.save(tmp_path / "a.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(InvalidInput, match="'a' holds vectors, which take no encoder"):
        load(tmp_path / "a.npy", metric="l2", encoder=open_encoder("hashing:64"))


def test_an_encoder_that_breaks_its_promise_is_refused(folder):
    """Vectors of another width than promised never reach the cache."""
    encoder = Counting()
    encoder.dim = 65
    with pytest.raises(InvalidInput, match=r"gave float32 of shape \(3, 64\) for 3 texts; expected float32 \(3, 65\)"):
        load(folder, encoder=encoder)


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("corpus.jsonl", "{broken", "corpus.jsonl, line 5 is not JSON"),
        ("corpus.jsonl", '{"_id": "d9"}', "corpus.jsonl, line 5 is .* expected an object with the strings '_id' and"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}', "line 5: the _id 'd1' was there before"),
        ("qrels.tsv", "q1\td1", "qrels.tsv, line 7 is 'q1.*d1'; expected query id, document id and a whole number"),
        ("qrels.tsv", "q1\td1\tyes", "qrels.tsv, line 7"),
        ("qrels.tsv", "q1\td99\t1", "qrels.tsv, line 7 names the document 'd99', not in the collection"),
        ("qrels.tsv", "q99\td1\t1", "qrels.tsv, line 7 names the query 'q99', not in the collection"),
    ],
)
def test_broken_lines_are_named(folder, file, line, complaint):
    """What is wrong in a collection's files is said with the file and the line."""
    with open(folder / file, "a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DataError, match=complaint):
        load_texts(folder)


def test_a_truncated_collection_is_refused(tmp_path):
    """A gzipped corpus that lost its end is an error, not a smaller corpus."""
    folder = write_collection(tmp_path / "talk", pack=True)
    os.truncate(folder / "corpus.jsonl.gz", (folder / "corpus.jsonl.gz").stat().st_size - 6)
    with pytest.raises(DataError, match=r"corpus\.jsonl\.gz is truncated or altered"):
        load_texts(folder)


def test_a_collection_without_queries_is_refused(folder):
    """The missing file is named."""
    (folder / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"holds corpus\.jsonl but no queries\.jsonl"):
        load_texts(folder)


def test_vectors_have_no_texts():
    """Asking a set of vectors for texts says what it is."""
    with pytest.raises(InvalidInput, match="data set 'fashion-mnist' holds vectors, not texts"):
        load_texts("fashion-mnist")
