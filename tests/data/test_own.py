import json

import numpy as np
import pytest

from adamem.data import card, check, dataset_names, fetch, import_dataset, load
from adamem.encoders import open_encoder
from adamem.errors import DataError, InvalidInput, StorageError

BASE = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine"
    made.mkdir()
    np.save(made / "base.npy", BASE)
    np.save(made / "queries.npy", BASE[:7] + 1)
    return made


def test_an_imported_folder_has_a_name(folder):
    """After the import the name works like any other: listed, shown, checked, loaded."""
    import_dataset("my-vectors", folder, metric="cosine", licence="CC0-1.0", title="Mine")
    assert "my-vectors" in dataset_names()
    known = card("my-vectors")
    assert (known.rows, known.query_count, known.dim, known.metric) == (60, 7, 4, "cosine")
    assert {found.state for found in check("my-vectors")} == {"ok"}
    found = load("my-vectors")
    assert np.array_equal(found.base, BASE)
    assert found.fingerprint == load(folder, metric="cosine").fingerprint
    assert found.provenance["licence"] == "CC0-1.0"


def test_queries_may_lie_elsewhere(folder, tmp_path):
    """A base file and a query file of different folders and formats make one set."""
    (tmp_path / "q.csv").write_text("1,2,3,4\n5,6,7,8\n")
    import_dataset("two-files", folder / "base.npy", metric="l2", queries=tmp_path / "q.csv")
    found = load("two-files")
    assert np.array_equal(found.base, BASE)
    assert found.queries.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_a_bundle_is_imported_whole(tmp_path):
    """One npz with base, queries and learn stays one file with three parts."""
    np.savez(tmp_path / "all.npz", base=BASE, queries=BASE[:3], learn=BASE[:2])
    import_dataset("bundle", tmp_path / "all.npz", metric="ip")
    found = load("bundle")
    assert (len(found.base), len(found.queries), len(found.learn)) == (60, 3, 2)
    assert found.metric == "ip"


def test_texts_are_imported_with_their_topics(tmp_path):
    """A folder of texts needs no metric; the field of the topics is remembered."""
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "x"}) + "\n")
    queries = [{"_id": "q", "text": "y", "about": "b"}, {"_id": "r", "text": "z", "about": "a"}]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n")
    import_dataset("talk", tmp_path, topic_field="about")
    assert load("talk", encoder=open_encoder("hashing:16")).topics.tolist() == [1, 0]


def test_a_later_change_is_noticed(folder):
    """The card records checksums, so a file that changed is not taken for the one that was imported."""
    import_dataset("my-vectors", folder, metric="l2")
    np.save(folder / "base.npy", BASE + 1)
    with pytest.raises(DataError, match=r"base\.npy is not the file that the card 'my-vectors' describes"):
        load("my-vectors")
    import_dataset("my-vectors", folder, metric="l2", replace=True)
    assert np.array_equal(load("my-vectors").base, BASE + 1)


@pytest.fixture
def apart(folder, tmp_path):
    """Set "mine": the base and, in a folder with a blank in its name, the queries."""
    (tmp_path / "my notes").mkdir()
    np.save(tmp_path / "my notes" / "v.npy", BASE)
    import_dataset("mine", tmp_path / "my notes" / "v.npy", metric="l2", queries=folder / "queries.npy")
    return tmp_path / "my notes" / "v.npy", folder / "queries.npy"


def test_nobody_is_told_to_delete_the_only_copy(apart):
    """A changed file of one's own is imported again, with a command that the shell takes as it stands."""
    base, queries = apart
    np.save(queries, BASE[:7] + 2)
    with pytest.raises(DataError, match=f"import it again with `adamem data import mine '{base}' --replace`") as error:
        load("mine")
    assert "delete it" not in str(error.value)
    assert "fetch or copy" not in str(error.value)


def test_only_what_is_absent_is_reported_absent(apart):
    """Each file is looked for where it was imported from, whatever became of the others."""
    base, queries = apart
    queries.unlink()
    assert [(found.path, found.state) for found in check("mine")] == [(base, "ok"), (queries, "absent")]
    for use in (load, fetch):
        with pytest.raises(StorageError, match=rf"'mine' lacks {queries}; put back .* import mine .* --replace`"):
            use("mine")


@pytest.mark.parametrize("part", ["base", "queries"])
def test_bad_vectors_are_refused_when_they_are_imported(part, folder):
    """NaN is found at once, in the base as in the queries, and no card is left behind."""
    spoilt = np.load(folder / f"{part}.npy")
    spoilt[5, 2] = np.nan
    np.save(folder / f"{part}.npy", spoilt)
    with pytest.raises(DataError, match=rf"{part}\.npy: row 5, column 2 is nan"):
        import_dataset("mine", folder, metric="cosine")
    assert "mine" not in dataset_names()


def test_the_first_use_of_imported_vectors_reads_nothing_again(folder):
    """What the import has looked at, and converted, is taken from the cache."""
    np.save(folder / "base.npy", BASE.astype("f8"))
    at_import, later = [], []
    import_dataset("mine", folder, metric="l2", progress=lambda *told: at_import.append(told))
    load("mine", progress=lambda *told: later.append(told))
    assert at_import
    assert not later


def test_what_cannot_be_imported(folder, tmp_path):
    """Taken or bad names, absent files, unknown metrics and widths that differ are errors with the way out."""
    with pytest.raises(InvalidInput, match="'fashion-mnist' is there already; choose another name"):
        import_dataset("fashion-mnist", folder, metric="l2", replace=True)
    with pytest.raises(InvalidInput, match="'My Data' is no name for a data set"):
        import_dataset("My Data", folder, metric="l2")
    with pytest.raises(InvalidInput, match="does not say how its vectors compare; name the metric"):
        import_dataset("mine", folder)
    with pytest.raises(InvalidInput, match="metric 'manhattan' is unknown; choose one of l2, cosine, ip"):
        import_dataset("mine", folder, metric="manhattan")
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere; check the path"):
        import_dataset("mine", tmp_path / "nowhere", metric="l2")
    np.save(tmp_path / "narrow.npy", BASE[:, :3])
    with pytest.raises(DataError, match=r"narrow\.npy has 3 dimensions, but .*base\.npy has 4"):
        import_dataset("mine", folder / "base.npy", metric="l2", queries=tmp_path / "narrow.npy")
    import_dataset("mine", folder, metric="l2")
    with pytest.raises(InvalidInput, match="'mine' is there already; choose another name, or replace the card"):
        import_dataset("mine", folder, metric="l2")
