import functools
import hashlib
import http.server
import json
import threading
import zipfile

import numpy as np
import pytest

from adamem.data import card, check, fetch, load, load_texts
from adamem.errors import DataError, DownloadError, UnknownName

BASE = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def site(tmp_path):
    """A folder, and the address under which a real server offers its files."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def write_card(cache, name, files, **fields):
    known = {
        "name": name,
        "kind": "vectors",
        "format": "npy",
        "title": "t",
        "licence": "MIT",
        "source": "here",
    } | fields
    lines = [f"{key} = {json.dumps(value)}" for key, value in known.items()]
    for file in files:
        lines += ["[[files]]"] + [f"{key} = {json.dumps(value)}" for key, value in file.items()]
    (cache / "cards").mkdir(parents=True, exist_ok=True)
    (cache / "cards" / f"{name}.toml").write_text("\n".join(lines))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_fetched_set_loads(site, cache):
    """fetch brings the files that the card names into the cache, where load finds them."""
    folder, url = site
    np.save(folder / "base.npy", BASE)
    file = {"path": "base.npy", "role": "base", "url": f"{url}/base.npy", "sha256": sha256(folder / "base.npy")}
    write_card(cache, "mine", [file], metric="l2")
    assert fetch("mine") == cache / "downloads" / "mine"
    assert len(load("mine", queries=3).base) == 27
    assert [found.state for found in check("mine")] == ["ok"]


def test_a_checksum_that_nobody_publishes_is_recorded(site, cache, caplog):
    """Without a checksum on the card the first download's is written beside the file, said, and holds from then on."""
    folder, url = site
    np.save(folder / "base.npy", BASE)
    write_card(cache, "mine", [{"path": "base.npy", "role": "base", "url": f"{url}/base.npy"}], metric="l2")
    there = fetch("mine")
    assert "no checksum is published for" in caplog.text
    assert (there / "base.npy.sha256").read_text().split()[0] == sha256(folder / "base.npy")
    assert [found.state for found in check("mine")] == ["ok"]
    np.save(there / "base.npy", BASE + 1)
    assert [found.state for found in check("mine")] == ["altered"]
    with pytest.raises(DataError, match=r"base\.npy is not the file that the card 'mine' describes"):
        load("mine")


def test_a_wrong_file_never_arrives(site, cache):
    """What does not match the card's checksum is not put in place."""
    folder, url = site
    np.save(folder / "base.npy", BASE)
    file = {"path": "base.npy", "role": "base", "url": f"{url}/base.npy", "sha256": "0" * 64}
    write_card(cache, "mine", [file], metric="l2")
    with pytest.raises(DownloadError, match="expected 0000"):
        fetch("mine")
    assert [found.state for found in check("mine")] == ["absent"]


def test_an_archive_is_unpacked(site, cache):
    """A zip like BEIR's: the files the card names come out of it, wherever in it they lie, and the zip goes."""
    folder, url = site
    with zipfile.ZipFile(folder / "talk.zip", "w") as archive:
        archive.writestr("talk/corpus.jsonl", '{"_id": "d1", "title": "A", "text": "b"}\n')
        archive.writestr("talk/queries.jsonl", '{"_id": "q1", "text": "c"}\n{"_id": "q2", "text": "d"}\n')
        archive.writestr("talk/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
        archive.writestr("talk/../../evil", "x")
    md5 = hashlib.md5((folder / "talk.zip").read_bytes()).hexdigest()
    files = [{"path": "talk.zip", "role": "archive", "url": f"{url}/talk.zip", "md5": md5}]
    roles = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels/test.tsv"}
    files += [{"path": path, "role": role} for role, path in roles.items()]
    write_card(cache, "talk", files, kind="text", format="texts", metric="cosine")
    there = fetch("talk")
    found = load_texts("talk")
    assert (found.rows, found.query_ids) == (("A b",), ("q1",))
    assert sorted(path.name for path in there.rglob("*") if path.is_file()) == [
        "corpus.jsonl",
        "queries.jsonl",
        "test.tsv",
    ]


def test_an_archive_that_lacks_a_file_is_refused(site, cache):
    """The error names the archive and what is missing."""
    folder, url = site
    with zipfile.ZipFile(folder / "talk.zip", "w") as archive:
        archive.writestr("corpus.jsonl", "")
    files = [{"path": "talk.zip", "role": "archive", "url": f"{url}/talk.zip"}, {"path": "a.npy", "role": "base"}]
    write_card(cache, "talk", files)
    with pytest.raises(DataError, match=r"talk\.zip has no a\.npy; delete it and fetch it again"):
        fetch("talk")


def test_a_set_that_is_there_is_not_fetched(real_data):
    """What a mirror holds is returned at once."""
    assert fetch("ngt-sift5k") == real_data / "ngt-sift5k"


def test_a_set_of_installed_packages_needs_no_fetching():
    """pydocs has no files."""
    assert fetch("pydocs") is None


def test_a_set_without_an_address_says_so():
    """Where the public form is another, the error says where the data comes from and how to provide it."""
    with pytest.raises(DownloadError, match=r"'realmem-en-dev' has no public address for corpus\.jsonl\.gz: RealMem"):
        fetch("realmem-en-dev")
    with pytest.raises(DownloadError, match="'medquad-en' has no public address"):
        fetch("medquad-passages")
    with pytest.raises(UnknownName, match="unknown dataset 'nothing'"):
        fetch("nothing")


def test_every_file_of_the_mirror_is_what_its_card_says(real_data):
    """All cards of the mirror's sets agree with its bytes."""
    manifest = json.loads((real_data / "MANIFEST.json").read_text())["datasets"]
    for name, entry in manifest.items():
        assert {found.state for found in check(name)} == {"ok"}, name
        listed = {file["path"]: file["sha256"] for file in entry["files"]}
        assert all(listed[file.path] == file.sha256 for file in card(name).files)
        assert (card(name).licence in entry["licence"]) or entry["licence"] in card(name).licence
