import json

import numpy as np
import pytest

from adamem.data import card, check, dataset_names, import_dataset, load
from adamem.encoders import open_encoder
from adamem.errors import DataError, InvalidInput

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
