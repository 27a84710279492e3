"""Raw results are written once, whole, under the hash of what they are; damage is a sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest
from pydantic import ValidationError

from adamem.bench.records import FORMAT, Block, Fitness, Run, Worker
from adamem.bench.store import RunFolder
from adamem.errors import CorruptResult, DataError, StorageError
from adamem.files import content_key


def a_worker(**changes):
    told = {
        "contestant": "hnsw", "role": "contestant", "index": "hnsw", "build": {"M": 16}, "seed": 0, "status": "ok",
        "why": "", "build_seconds": 1.5, "build_threads": 2, "import_seconds": 0.1, "first_query_seconds": 1e-3,
        "warm_query_seconds": 1e-4, "nbytes": {"graph": 10}, "resident_bytes": 100, "peak_bytes": 120,
        "points": [
            {"search": {"ef": 20}, "k": 10, "origin": "grid", "distance_error": 0.0, "repeatable": True,
             "one_query": True, "batch": True, "counters": {}}
        ],
    }  # fmt: skip
    return Worker.model_validate({**told, **changes})


def a_block(*workers, stage="measure", number=0):
    spec = {"stage": stage, "number": number}
    return Block(
        format=FORMAT, key=content_key(spec), stage=stage, cohort=0, seed=0, rounds=2, order=[[0], [0]],
        started="2025-01-01T00:00:00+00:00", wall_seconds=1.0, machine="m",
        fitness=Fitness(load_before=0.0, steal=0.0, foreign=0.0, notes=[]), workers=list(workers), spec=spec,
    )  # fmt: skip


ARRAYS = {
    "p0_one_ns": np.array([[1000, 0, 3000]], dtype=np.uint32),
    "p0_batch_ns": np.array([4000, 5000], dtype=np.int64),
    "p0_ranks": np.array([[0, 255], [254, 254], [1, 0]], dtype=np.uint8),
    "p0_elsewhere_ids": np.array([77], dtype=np.int32),
    "p0_elsewhere_distances": np.array([2.5]),
    "p0_elsewhere_norms": np.array([1.0], dtype=np.float32),
}


def a_run(blocks):
    return Run(
        format=FORMAT, metrics_version=1, adamem="0", name="toy", title="Toy", study="sweep", config={},
        dataset={
            "name": "toy", "metric": "l2", "n": 5, "dim": 2, "fingerprint": "f", "provenance": {},
            "queries": {"calibration": 1, "test": 3, "distinct": 4, "split": "at random"},
        },
        machine={"fingerprint": "m"}, versions={}, started="2025-01-01", finished=None, status="incomplete",
        wall_seconds={}, sweep=[], blocks=[block.key for block in blocks], skipped=[],
    )  # fmt: skip


def test_a_block_gives_back_its_record_and_arrays(tmp_path):
    """What was measured is what is read; a failed worker has no arrays, and its block is not whole."""
    folder = RunFolder(tmp_path)
    block = a_block(a_worker(), a_worker(contestant="pq", status="failed", why="it crashed", points=[]))
    assert not folder.has_block("measure", block.key)
    folder.write_block(block, [ARRAYS, {}])
    assert not folder.has_block("measure", block.key)
    assert folder.block("measure", block.key) == block
    first, second = folder.measured("measure", block)
    assert second.arrays == {}
    assert all(np.array_equal(first.arrays[name], array) for name, array in ARRAYS.items())
    assert first.answers(0).elsewhere_ids.tolist() == [77]


def test_times_come_back_as_seconds_and_what_was_not_asked_as_nan(tmp_path):
    """Nanoseconds become seconds; 0 ns means that the slow point did not ask this query."""
    folder = RunFolder(tmp_path)
    block = a_block(a_worker())
    folder.write_block(block, [ARRAYS])
    (one,) = folder.measured("measure", block)
    np.testing.assert_allclose(one.one_seconds(0), [[1e-6, np.nan, 3e-6]])
    np.testing.assert_allclose(one.batch_seconds(0), [4e-6, 5e-6])
    assert one.arrays["p0_one_ns"][0, 1] == 0


def test_a_measured_block_is_never_overwritten(tmp_path):
    """Writing a block again is refused and leaves the first as it was."""
    folder = RunFolder(tmp_path)
    block = a_block(a_worker())
    folder.write_block(block, [ARRAYS])
    with pytest.raises(CorruptResult, match="never overwritten"):
        folder.write_block(block, [{**ARRAYS, "p0_batch_ns": np.array([1], dtype=np.int64)}])
    (one,) = folder.measured("measure", block)
    assert one.arrays["p0_batch_ns"].tolist() == [4000, 5000]


def test_a_block_that_fails_midway_is_not_there(tmp_path):
    """Arrays that cannot be written leave neither a block nor a scratch folder."""
    folder = RunFolder(tmp_path)
    block = a_block(a_worker(), a_worker())
    with pytest.raises(ValueError, match="allow_pickle"):
        folder.write_block(block, [ARRAYS, {"bad": np.array([object()])}])
    assert not folder.has_block("measure", block.key)
    assert list((tmp_path / "raw" / "blocks").iterdir()) == []


def test_equal_arrays_give_equal_bytes(tmp_path):
    """A raw file's hash depends on its arrays alone, not on the time of day or the order of their names."""
    folder = RunFolder(tmp_path)
    folder.write_arrays("a.npz", ARRAYS)
    folder.write_arrays("b.npz", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "raw" / "a.npz").read_bytes() == (tmp_path / "raw" / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "raw" / "a.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_manifest_holds_the_hash_of_every_raw_file_that_the_run_counts(tmp_path):
    """Each counted file is listed with its SHA-256 and size; a block of another plan that lies beside is not."""
    folder = RunFolder(tmp_path)
    counted, stray = a_block(a_worker()), a_block(a_worker(), number=1)
    for block in (counted, stray):
        folder.write_block(block, [ARRAYS])
    folder.write_arrays("truth-test.npz", {"rows": np.arange(3)})
    folder.write_manifest(a_run([counted]))
    manifest = json.loads((tmp_path / "raw" / "manifest.json").read_text())
    short = counted.key[:16]
    assert set(manifest) == {"truth-test.npz", f"blocks/{short}/block.json", f"blocks/{short}/0.npz"}
    for name, entry in manifest.items():
        data = (tmp_path / "raw" / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def test_a_run_record_survives_and_a_folder_without_one_is_refused(tmp_path):
    """run.json gives back what was written; a folder that holds no run says which folders do."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match=r"holds no run \(no run.json\)"):
        folder.run()
    run = a_run([])
    folder.write_run(run)
    assert folder.run() == run


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "is not a run's record"),
        (lambda text: text.replace('"status"', '"state"'), "is not a run's record"),
        (lambda text: text.replace(f'"format": {FORMAT}', '"format": 99'), "has format 99, this version reads up to"),
    ],
)
def test_a_damaged_run_record_is_a_sentence(tmp_path, damage, said):
    """Cut short, an unknown key, a format from the future: each says what is wrong and the way out."""
    folder = RunFolder(tmp_path)
    folder.write_run(a_run([]))
    path = tmp_path / "run.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CorruptResult, match=said):
        folder.run()


def test_a_missing_or_damaged_raw_file_is_a_sentence(tmp_path):
    """Missing arrays, a truncated file, one flipped byte in its middle, a missing block: no traceback from below."""
    folder = RunFolder(tmp_path)
    with pytest.raises(CorruptResult, match="is missing; run the experiment again"):
        folder.arrays("truth-test.npz")
    folder.write_arrays("x.npz", {"a": np.random.default_rng(0).random(500)})
    path = tmp_path / "raw" / "x.npz"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-30], b"", bytes(flipped), b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(CorruptResult, match="cannot be read"):
            folder.arrays("x.npz")
    block = a_block(a_worker())
    with pytest.raises(CorruptResult, match=r"raw block .* is missing"):
        folder.block("measure", block.key)
    folder.write_block(block, [ARRAYS])
    record = tmp_path / "raw" / "blocks" / block.key[:16] / "block.json"
    record.write_text(record.read_text().replace('"M":16', '"M":[16]').replace('"M": 16', '"M": [16]'))
    with pytest.raises(CorruptResult, match="is not a block's record"):
        folder.block("measure", block.key)


def test_a_block_whose_folder_cannot_be_made_is_a_sentence(tmp_path):
    """Where a file stands in the way, the error names the path and the way out."""
    folder = RunFolder(tmp_path)
    (tmp_path / "raw").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        folder.write_block(a_block(a_worker()), [ARRAYS])


def test_a_removed_block_is_no_longer_there(tmp_path):
    """Deleting a block's folder is all it takes to have it measured again."""
    folder = RunFolder(tmp_path)
    block = a_block(a_worker(), stage="sweep")
    folder.write_block(block, [ARRAYS])
    shutil.rmtree(tmp_path / "raw" / "sweep" / block.key[:16])
    assert not folder.has_block("sweep", block.key)
    folder.write_block(block, [ARRAYS])
    assert folder.has_block("sweep", block.key)


def test_records_refuse_unknown_keys_and_cannot_be_changed():
    """A record is what was written, no more, and stays so."""
    with pytest.raises(ValidationError, match="surprise"):
        a_worker(surprise=1)
    with pytest.raises(ValidationError, match="frozen"):
        a_worker().why = "changed"
