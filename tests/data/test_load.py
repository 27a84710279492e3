import logging
import os
from dataclasses import replace

import numpy as np
import pytest

from adamem.data import load, load_texts
from adamem.errors import DataError, InvalidInput, StorageError, UnknownName

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(200, 5)).astype(np.float32)
QUERIES = RNG.normal(size=(40, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine"
    made.mkdir()
    np.save(made / "base.npy", BASE)
    np.save(made / "queries.npy", QUERIES)
    return made


def prepared_files(cache):
    return sorted((cache / "prepared").rglob("base.npy"))


def test_fashion_mnist_is_what_ann_benchmarks_has(real_data):
    """60,000 x 784 float32 rows mapped from the cache, 10,000 queries, l2, raw pixel values."""
    images = load("fashion-mnist")
    assert images.base.shape == (60_000, 784)
    assert images.queries.shape == (10_000, 784)
    assert images.base.dtype == images.queries.dtype == np.float32
    assert isinstance(images.base, np.memmap)
    assert images.metric == "l2"
    assert (images.base[0].min(), images.base[0].max()) == (0, 255)
    assert images.base[0].sum() == 76247  # of the first training image, an ankle boot
    assert images.provenance["licence"] == "MIT"


@pytest.mark.parametrize(
    ("name", "rows", "queries", "dim", "judgements", "topics"),
    [("lsa-medquad256", 15_811, 14_979, 256, 16_359, 9), ("minilm-medquad384", 52_176, 14_979, 384, 16_359, 9)],
)
def test_vectors_judged_by_a_text_collection(real_data, name, rows, queries, dim, judgements, topics):
    """Vectors of MedQuAD have its judgements and topics; a passage belongs to its answer."""
    found = load(name)
    assert found.base.shape == (rows, dim)
    assert found.queries.shape == (queries, dim)
    assert len(found.qrels.query) == judgements
    assert len(set(found.topics.tolist())) == topics
    assert len(found.qrels.document_of_row) == rows
    row = found.base_ids.index("a15810#1" if "#" in found.base_ids[0] else "a15810")
    assert found.qrels.document_of_row[row] == 15810


def test_vectors_without_their_judge_say_so(real_data, tmp_path, monkeypatch):
    """Where the text collection is absent the vectors load all the same, and the provenance says what is missing."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "lsa-medquad256").symlink_to(real_data / "lsa-medquad256")
    monkeypatch.setenv("ADAMEM_DATA", str(mirror))
    found = load("lsa-medquad256")
    assert found.qrels is None
    assert found.provenance["qrels"] == "absent: medquad-en is not on this machine"


def test_rows_are_held_out_where_there_are_no_queries(real_data):
    """A set without queries gives distinct rows of its own, which leave the base; nothing is lost or doubled."""
    found = load("ngt-sift5k", queries=100, seed=3)
    assert found.base.shape == (4900, 128)
    assert found.queries.shape == (100, 128)
    assert len({row.tobytes() for row in found.queries}) == 100
    whole = np.loadtxt(real_data / "ngt-sift5k" / "sift-dataset-5k.tsv", dtype=np.float32, usecols=range(128))
    both = np.concatenate([found.base, found.queries])
    assert np.array_equal(both[np.lexsort(both.T)], whole[np.lexsort(whole.T)])
    assert "100 rows held out of the base" in found.provenance["queries"]


def test_the_seed_decides_what_is_held_out(tmp_path):
    """The same seed draws the same rows, another one draws others; the names go with their rows."""
    np.save(tmp_path / "base.npy", BASE)
    (tmp_path / "base_ids.json").write_text(str([f"b{i}" for i in range(200)]).replace("'", '"'))
    first, again, other = (load(tmp_path, metric="l2", seed=seed) for seed in (1, 1, 2))
    assert first.queries.shape == (20, 5)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    for names, rows in ((first.base_ids, first.base), (first.query_ids, first.queries)):
        assert np.array_equal(rows, BASE[[int(name[1:]) for name in names]])


def test_limit_takes_the_first_rows(folder):
    """`limit` keeps the order and the queries, and makes another fingerprint."""
    few = load(folder, metric="l2", limit=30)
    assert np.array_equal(few.base, BASE[:30])
    assert np.array_equal(few.queries, QUERIES)
    assert few.fingerprint != load(folder, metric="l2").fingerprint
    assert few.provenance["base"] == "the first 30 of 200 rows"
    assert len(load(folder, metric="l2", limit=1000).base) == 200


def test_queries_are_sampled_among_the_distinct_ones(folder):
    """A sample never holds the same query twice, keeps the file's order, and depends on the seed alone."""
    np.save(folder / "queries.npy", np.concatenate([QUERIES, QUERIES[:20]]))
    some = load(folder, metric="l2", queries=35, seed=5)
    assert some.queries.shape == (35, 5)
    places = [int(np.flatnonzero((row == QUERIES).all(axis=1))[0]) for row in some.queries]
    assert places == sorted(set(places))
    assert load(folder, metric="l2", queries=35, seed=5).fingerprint == some.fingerprint
    assert load(folder, metric="l2", queries=35, seed=6).fingerprint != some.fingerprint
    assert len(load(folder, metric="l2", queries=500).queries) == 40
    assert len(load(folder, metric="l2").queries) == 60


def test_the_fingerprint_follows_the_bytes(folder, tmp_path):
    """One number changed anywhere, or the metric, changes the fingerprint; the format of the file does not."""
    first = load(folder, metric="l2").fingerprint
    assert load(folder, metric="ip").fingerprint != first
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "a.npz", base=BASE.astype("f8"), queries=QUERIES)
    assert load(other / "a.npz", metric="l2").fingerprint == first
    changed = BASE.copy()
    changed[199, 4] += 1
    np.save(folder / "base.npy", changed)
    assert load(folder, metric="l2").fingerprint != first


def test_a_float32_npy_is_mapped_where_it_lies(folder, cache):
    """No copy of a file that is already float32 rows."""
    found = load(folder, metric="l2")
    assert found.base.filename == folder / "base.npy"
    assert not prepared_files(cache)


def test_zero_rows_are_dropped_under_cosine_only(folder):
    """A vector without direction leaves base and queries under cosine, with a count; names stay with their rows."""
    base, queries = BASE.copy(), QUERIES.copy()
    base[[3, 77]], queries[5] = 0, 0
    np.save(folder / "base.npy", base)
    np.save(folder / "queries.npy", queries)
    (folder / "base_ids.json").write_text(str([f"b{i}" for i in range(200)]).replace("'", '"'))
    found = load(folder, metric="cosine")
    assert np.array_equal(found.base, np.delete(base, [3, 77], axis=0))
    assert np.array_equal(found.queries, np.delete(queries, 5, axis=0))
    assert "b3" not in found.base_ids
    assert found.base_ids[3] == "b4"
    assert found.provenance["zero_rows_dropped"] == {"base": 2, "queries": 1}
    assert len(load(folder, metric="l2").base) == 200


def test_a_damaged_prepared_file_is_made_again(folder, cache, caplog):
    """A flipped byte, a lost tail or a broken manifest in the cache is noticed, said, and mended."""
    np.save(folder / "base.npy", BASE.astype("f8"))
    first = load(folder, metric="l2")
    (file,) = prepared_files(cache)
    manifest = file.with_name("manifest.json")

    def flip():
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)

    for damage in (flip, lambda: os.truncate(file, 500), lambda: manifest.write_text("{"), file.unlink):
        damage()
        with caplog.at_level(logging.WARNING, "adamem.data"):
            again = load(folder, metric="l2")
        assert "is damaged" in caplog.text
        caplog.clear()
        assert again.fingerprint == first.fingerprint
        assert np.array_equal(again.base, BASE)


def test_a_copied_cache_is_believed_after_a_look(folder, cache):
    """New file times alone cost a reading, not a conversion."""
    np.save(folder / "base.npy", BASE.astype("f8"))
    load(folder, metric="l2")
    (file,) = prepared_files(cache)
    os.utime(file, (1, 1))
    heard = []
    load(folder, metric="l2", progress=lambda *told: heard.append(told))
    assert not heard


def test_an_altered_file_of_a_card_is_refused(real_data, tmp_path, monkeypatch):
    """A file that is not what its card describes is an error that says which checksum was expected."""
    mirror = tmp_path / "ngt-sift5k"
    mirror.mkdir()
    raw = bytearray((real_data / "ngt-sift5k" / "sift-dataset-5k.tsv").read_bytes())
    raw[0] = ord("7")
    (mirror / "sift-dataset-5k.tsv").write_bytes(raw)
    monkeypatch.setenv("ADAMEM_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"not the file that the card 'ngt-sift5k' describes.*expected 2e638d749b01"):
        load("ngt-sift5k")


def test_an_absent_set_says_how_to_get_it():
    """Loading never downloads: the error names the command and the variable."""
    with pytest.raises(StorageError, match=r"run `adamem data fetch sift-128-euclidean` or set ADAMEM_DATA"):
        load("sift-128-euclidean")
    with pytest.raises(StorageError, match=r"'realmem-en-dev' is not on this machine .*; set ADAMEM_DATA to a folder"):
        load("realmem-en-dev")


def test_unknown_names_and_paths():
    """A misspelt name gets the nearest one, a missing path is called a path, a metric is checked."""
    with pytest.raises(UnknownName, match="unknown dataset 'fashion-mnits'; did you mean 'fashion-mnist'"):
        load("fashion-mnits")
    with pytest.raises(UnknownName, match=r"there is no file or folder somewhere/base\.npy"):
        load("somewhere/base.npy")
    with pytest.raises(UnknownName, match="unknown metric 'cosin'; did you mean 'cosine'"):
        load("fashion-mnist", metric="cosin")


@pytest.mark.parametrize("path", ["gone.npy", "gone-ubyte", "texts/", "a/b"])
def test_an_absent_relative_path_says_where_it_was_looked_up(path):
    """What is written as a path is never taken for a misspelt name, and a run made elsewhere is thought of."""
    for read in (load, load_texts):
        with pytest.raises(UnknownName, match=r"there is no file or folder .* looked up from the current dir") as error:
            read(path)
        assert path in str(error.value)
        assert "where the run that names it was made" in str(error.value)
        assert "fashion-mnist" not in str(error.value)


def test_an_absent_absolute_path_is_no_matter_of_directories(tmp_path):
    """Going elsewhere would not help."""
    with pytest.raises(UnknownName, match=r"there is no file or folder .*gone\.npy; check the path") as error:
        load(str(tmp_path / "gone.npy"))
    assert "current directory" not in str(error.value)


def test_a_name_with_a_dot_is_still_a_name():
    """Only what ends like a file that can be read is a path."""
    with pytest.raises(UnknownName, match=r"unknown dataset 'sift\.128-euclidean'; did you mean 'sift-128-eu"):
        load("sift.128-euclidean")


def test_numbers_out_of_range(folder):
    """limit and queries start at 1, and the only row cannot be held out."""
    with pytest.raises(InvalidInput, match="limit = 0; expected at least 1"):
        load(folder, metric="l2", limit=0)
    with pytest.raises(InvalidInput, match="queries = -1; expected at least 1"):
        load(folder, metric="l2", queries=-1)
    np.save(folder / "one.npy", np.ones((1, 3), np.float32))
    with pytest.raises(InvalidInput, match="1 rows: 1 cannot be held out"):
        load(folder / "one.npy", metric="l2")


def test_a_cache_that_cannot_be_written_is_named(folder, cache):
    """An unwritable cache is a storage error, not a traceback of the operating system's."""
    np.save(folder / "base.npy", BASE.astype("f8"))
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot write .*cache"):
        load(folder, metric="l2")


def test_a_dataset_is_immutable(folder):
    """Mapped rows cannot be written to, and the fields cannot be set."""
    found = load(folder, metric="l2")
    with pytest.raises(ValueError, match="read-only"):
        found.base[0, 0] = 1
    assert replace(found, name="other").name == "other"
