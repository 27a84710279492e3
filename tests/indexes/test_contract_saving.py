"""The contract of every registered index that declares `save`: equality after loading, refusals, and kills."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from adamem.errors import CorruptResult, StorageError
from adamem.index import index_class, names_that_can


@pytest.fixture
def saved(case, make_data, tmp_path):
    """An index with updates behind it, where it can take them, and the folder it was saved in."""
    if not case.capabilities.save:
        pytest.skip(f"{case.name} declares no save; the refusal is asserted elsewhere")
    small = make_data(n=400, dim=10, queries=20, seed=21)
    index = case.build(small.vectors[:350], small.ids[:350], seed=5)
    if case.capabilities.delete:
        index.delete(small.ids[:60])
    if case.capabilities.insert:
        index.insert(small.vectors[350:], small.ids[350:])
    folder = tmp_path / "saved"
    index.save(folder)
    return index, folder, small


def test_a_loaded_index_is_the_saved_one(case, saved):
    """It answers equally, id by id and distance by distance, knows its metric and parameters, and takes updates."""
    index, folder, small = saved
    loaded = case.cls.load(folder)
    assert len(loaded) == len(index)
    assert (loaded.metric, loaded.dim, loaded.params) == (index.metric, index.dim, index.params)
    for k in (1, 10, 400):
        before, after = index.search(small.queries, k), loaded.search(small.queries, k)
        assert (before.ids == after.ids).all()
        assert (before.distances == after.distances).all()
    if case.capabilities.insert and case.capabilities.delete:
        loaded.insert(small.vectors[:1], small.ids[:1])
        loaded.delete(small.ids[100:101])
        found = loaded.search(small.queries, 400).ids
        assert small.ids[0] in found
        assert small.ids[100] not in found


def test_an_index_saved_after_loading_loads_again(case, saved, tmp_path):
    """Nothing is lost on the second trip, nor by saving into the folder that it came from."""
    index, folder, small = saved
    once = case.cls.load(folder)
    once.save(tmp_path / "again")
    once.save(folder)
    expected = index.search(small.queries, 10)
    for place in (tmp_path / "again", folder):
        found = case.cls.load(place).search(small.queries, 10)
        assert (found.ids == expected.ids).all()


def test_saving_over_leaves_the_latest_and_nothing_else_of_ours(case, saved, make_data):
    """The files of the former save are swept, a file of the user's stays."""
    _, folder, _ = saved
    (folder / "notes.txt").write_text("mine")
    other = make_data(n=30, dim=10, queries=3, seed=22)
    case.build(other.vectors, other.ids).save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {entry["file"] for entry in manifest["files"].values()}
    assert {path.name for path in folder.iterdir()} == named | {"manifest.json", "notes.txt"}
    assert len(case.cls.load(folder)) == 30


def test_altered_files_are_refused(case, saved):
    """A flipped byte, a cut end or a missing file is named, and never loaded."""
    _, folder, _ = saved
    files = [path for path in folder.iterdir() if path.name != "manifest.json"]
    assert files
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptResult, match="was altered"):
            case.cls.load(folder)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CorruptResult, match="expected"):
            case.cls.load(folder)
        path.unlink()
        with pytest.raises(CorruptResult, match="is missing"):
            case.cls.load(folder)
        path.write_bytes(content)
    assert len(case.cls.load(folder)) > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a manifest"),
        ('{"format": "adamem-index"', "not a manifest"),
        ("[1, 2]", "not a manifest"),
        ('{"format": "adamem-index"}', "not a manifest"),
        ('{"format": "x", "index": "y", "version": 1, "meta": {}, "files": {}}', "holds a saved 'y'"),
    ],
)
def test_a_foreign_manifest_is_refused(case, saved, content, message):
    """What is no manifest of this index's is refused with a sentence."""
    _, folder, _ = saved
    (folder / "manifest.json").write_text(content)
    with pytest.raises(CorruptResult, match=message):
        case.cls.load(folder)


def test_an_altered_manifest_is_refused(case, saved):
    """Another metric, say, by which all would be answered wrongly: whatever it says is under its own checksum."""
    _, folder, _ = saved
    whole = (folder / "manifest.json").read_text()
    manifest = json.loads(whole)
    other = next(metric for metric in ("l2", "ip", "cosine") if metric != manifest["meta"]["metric"])
    manifest["meta"]["metric"] = other
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptResult, match="was altered"):
        case.cls.load(folder)
    del manifest["sha256"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CorruptResult, match="was altered"):
        case.cls.load(folder)
    (folder / "manifest.json").write_text(whole)
    assert len(case.cls.load(folder)) > 0


def test_another_version_is_refused(case, saved):
    """A snapshot of a later format says so."""
    _, folder, _ = saved
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(CorruptResult, match="format version 99"):
        case.cls.load(folder)


def test_another_indexs_folder_is_refused(case, saved):
    """Loading with the wrong class names both."""
    _, folder, _ = saved
    for name in names_that_can("save"):
        if name != case.name:
            with pytest.raises(CorruptResult, match=f"holds a saved '{case.name}', expected '{name}'"):
                index_class(name).load(folder)


def test_a_place_without_an_index_is_refused(case, tmp_path):
    """No folder, or one without a manifest."""
    if not case.capabilities.save:
        pytest.skip(f"{case.name} declares no save; the refusal is asserted elsewhere")
    with pytest.raises(StorageError, match="no such folder"):
        case.cls.load(tmp_path / "nowhere")
    with pytest.raises(CorruptResult, match="is no saved index"):
        case.cls.load(tmp_path)


def test_an_unwritable_place_is_refused(case, saved, tmp_path):
    """A path below a file cannot become a folder: one sentence, and nothing is left behind."""
    index, _, _ = saved
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        index.save(tmp_path / "file" / "folder")
    assert (tmp_path / "file").read_text() == "x"


_KILLER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from adamem.index import index_class

name, metric, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
cls, rng = index_class(name), np.random.default_rng(0)
indexes = [cls.build(rng.standard_normal((n, 16)).astype(np.float32), np.arange(n), metric=metric) for n in (400, 500)]
indexes[0].save(folder)
for _ in range(12):
    child = os.fork()
    if child == 0:
        while True:
            for index in reversed(indexes):
                index.save(folder)
    time.sleep(rng.uniform(0.001, 0.03))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    print(len(cls.load(folder)), flush=True)
"""


@pytest.mark.parametrize("name", names_that_can("save"))
def test_a_kill_while_saving_leaves_a_whole_index(name, tmp_path):
    """A process that saves two indexes in turn is killed at twelve random moments: one of the two is always there."""
    metric = index_class(name).capabilities.metrics[0]
    command = [sys.executable, "-c", _KILLER, name, metric, str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    sizes = done.stdout.split()
    assert len(sizes) == 12
    assert set(sizes) <= {"400", "500"}
    # the next save sweeps what the killed ones left
    index = index_class(name).load(tmp_path / "saved")
    index.save(tmp_path / "saved")
    named = json.loads((tmp_path / "saved" / "manifest.json").read_text())["files"].values()
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"manifest.json", *(one["file"] for one in named)}
