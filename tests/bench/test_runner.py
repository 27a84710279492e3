"""A run from config to raw results: what is kept, what is done again, what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import tomli_w

from adamem.bench import RunFolder
from adamem.bench.metrics import recall
from adamem.bench.select import choose
from adamem.errors import ConfigError, StorageError, TrialFailed


def _stamps(folder):
    return {path: path.stat().st_mtime_ns for path in sorted((folder / "raw").rglob("*")) if path.parent.name not in ("raw",)}


def test_a_whole_run_is_complete_and_says_how(small_run):
    """run.json carries the data set, the split, the machine, the versions and the wall time of each stage."""
    run = RunFolder(small_run).run()
    assert run.status == "complete"
    assert run.dataset.n == 1500
    assert run.dataset.queries.calibration + run.dataset.queries.test == 60
    assert set(run.wall_seconds) == {"prepare", "sweep", "measure"}
    assert {"numpy", "hnswlib"} <= set(run.versions)
    assert len(run.sweep) == 3
    assert len(run.blocks) == 2


def test_calibration_and_test_queries_are_apart(small_run):
    """No query both chooses and judges."""
    folder = RunFolder(small_run)
    assert np.intersect1d(folder.truth("calibration").rows, folder.truth("test").rows).size == 0


def test_exact_search_scores_one_everywhere(small_run):
    """At every k, in every block, from the raw answers."""
    folder = RunFolder(small_run)
    truth, seen = folder.truth("test"), 0
    for key in folder.run().blocks:
        for measured in folder.measured("measure", folder.block("measure", key)):
            if measured.worker.contestant == "exact":
                for p, point in enumerate(measured.worker.points):
                    assert recall(measured.answers(p), truth, point.k).min() == 1.0
                    seen += 1
    assert seen == 4


def test_every_block_holds_the_reference_and_its_twin(small_run):
    """Ratios and the noise floor need both, in the same block, with the same build."""
    folder = RunFolder(small_run)
    for key in folder.run().blocks:
        workers = folder.block("measure", key).workers
        by_role = {worker.role: worker for worker in workers}
        assert by_role["reference"].build == by_role["twin"].build == {"M": 16, "ef_construction": 20}
        assert [p.search for p in by_role["reference"].points] == [p.search for p in by_role["twin"].points]


def test_every_round_gives_the_token_in_a_new_order(small_run):
    """Each worker once a round; not the same order twice (of 4! orders, 4 rounds of 2 blocks)."""
    folder = RunFolder(small_run)
    orders = [tuple(turn) for key in folder.run().blocks for turn in folder.block("measure", key).order]
    assert all(sorted(turn) == list(range(len(turn))) for turn in orders)
    assert len(set(orders)) > 1


def test_raw_times_are_there_for_every_round_and_query(small_run):
    """Nanoseconds, all positive: nothing was averaged away."""
    folder = RunFolder(small_run)
    block = folder.block("measure", folder.run().blocks[0])
    for measured in folder.measured("measure", block):
        for p in range(len(measured.worker.points)):
            one = measured.one_seconds(p)
            assert one.shape == (2, folder.run().dataset.queries.test)
            assert (one > 0).all()
            assert (measured.batch_seconds(p) > 0).all()


def test_reported_distances_agree_with_the_recomputed_ones(small_run):
    """The harness recomputes; an exact-distance index is off by float32 rounding and no more."""
    folder = RunFolder(small_run)
    block = folder.block("measure", folder.run().blocks[0])
    errors = [point.distance_error for worker in block.workers for point in worker.points]
    assert all(error is not None and error < 1e-5 for error in errors)


def test_calibration_closes_in_on_the_targets(small_run):
    """Around every target that the grid brackets, two neighbouring efforts stand close together."""
    folder = RunFolder(small_run)
    run = folder.run()
    choice = choose(folder, run)["hnsw"]
    for target in run.config["targets"]:
        build = choice.per_target[target]
        one = next(one for one in choice.builds if one.build == build)
        above = min(r for r in one.recalls if r >= target)
        below = max((r for r in one.recalls if r < target), default=None)
        efforts = sorted(search["ef"] for search in one.searches)
        assert below is None or above - below <= 0.06 or np.diff(efforts).min() == 1


def test_a_second_run_measures_nothing_again(small_run, vectors, reporter, tables_of, run_again):
    """Every block file keeps its time stamp, and the reporter is told that all was there."""
    before = _stamps(small_run)
    run_again(tables_of(vectors), small_run, reporter)
    assert _stamps(small_run) == before
    assert any("3 already measured" in stage for stage in reporter.stages)
    assert any("2 already measured" in stage for stage in reporter.stages)


def test_a_wider_grid_measures_only_what_is_new(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """The old builds' blocks stay; one more is made."""
    tables = tables_of(vectors, build_seeds=1, rounds=1)
    out = run_again(tables, tmp_path / "run")
    before = _stamps(out)
    sweep = {path: stamp for path, stamp in before.items() if "sweep" in path.parts}
    wider = copy.deepcopy(tables)
    wider["contestant"][1]["build"]["M"] = [2, 4, 6]
    run_again(wider, out, reporter)
    after = _stamps(out)
    assert {path: after[path] for path in sweep} == sweep
    assert any("3 already measured" in stage for stage in reporter.stages)


def test_names_and_titles_change_no_measurement(vectors, cache, small_run, reporter, tables_of, run_again):
    """What only words change is not measured again."""
    tables = tables_of(vectors)
    tables["title"] = "Other words"
    tables["expected"] = "Nothing new."
    before = _stamps(small_run)
    run_again(tables, small_run, reporter)
    assert _stamps(small_run) == before
    assert RunFolder(small_run).run().title == "Other words"
    run_again(tables_of(vectors), small_run)


def test_more_neighbours_than_vectors_is_refused(tmp_path, cache, reporter, tables_of, run_again, clustered):
    """Before anything is built, with both numbers."""
    np.save(tmp_path / "base.npy", clustered(15, 4, 1))
    np.save(tmp_path / "queries.npy", clustered(6, 4, 2))
    tables = tables_of(tmp_path)
    with pytest.raises(ConfigError, match=r"small\.toml: measure\.k .* asks for 20 neighbours, but .* holds only 15 vectors"):
        run_again(tables, tmp_path / "run", reporter)


def test_recall_at_a_k_that_is_not_asked_is_refused(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """An answer of 10 cannot be scored at 50."""
    tables = tables_of(vectors)
    tables["measure"]["recall_at"] = [1, 50]
    with pytest.raises(ConfigError, match=r"recall at 50 needs answers of that length; add 50 to measure\.k"):
        run_again(tables, tmp_path / "run", reporter)


def test_two_processes_do_not_write_into_one_folder(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """The second one is told so."""
    from adamem.bench.context import scratch_folder

    with scratch_folder(tmp_path / "run"), pytest.raises(StorageError, match="another process is running into"):
        run_again(tables_of(vectors), tmp_path / "run", reporter)


def test_equal_builds_answer_equally_in_every_block(small_run):
    """With one build thread and one seed the reference and its twin give the same answers: quality is reproducible."""
    folder = RunFolder(small_run)
    for key in folder.run().blocks:
        found = {m.worker.role: m for m in folder.measured("measure", folder.block("measure", key)) if m.worker.contestant == "hnsw"}
        for p in range(len(found["reference"].worker.points)):
            assert np.array_equal(found["reference"].answers(p).ranks, found["twin"].answers(p).ranks)


@pytest.fixture
def compare(adamem, vectors, tmp_path, tables_of):
    """`compare(index, *pairs, **measure)`: run a misbehaving index beside exact and hnsw; the folder and the process."""

    def run(index, *more, **measure):
        tables = tables_of(vectors, **{"rounds": 1, "build_seeds": 1, "k": [10], "recall_at": [10], **measure})
        tables["contestant"][1]["build"] = {"M": 4, "ef_construction": 20}
        tables["contestant"].append({"name": index, "index": index, **dict(more)})
        config = tmp_path / "bad.toml"
        config.write_text(tomli_w.dumps(tables))
        out = tmp_path / "run"
        return RunFolder(out), adamem("run", str(config), "--out", str(out))

    return run


@pytest.mark.parametrize(
    ("index", "status", "why"),
    [
        ("crash", "failed", "its process was killed by SIGSEGV"),
        ("raises", "failed", "RuntimeError: the moon is in the wrong house"),
        ("inventor", "failed", "answered with the id 10000000, which is not in the collection"),
        ("liar", "invalid", "exact search scored 0.9"),
        ("blind", "invalid", "found not one true neighbour"),
        ("nan", "invalid", "reported no finite distance"),
    ],
)
def test_a_misbehaving_index_is_recorded_and_the_others_go_on(compare, index, status, why):
    """Its reason is in the raw record, and exact search and hnsw are measured all the same."""
    folder, done = compare(index)
    assert done.returncode == 0, done.stderr
    run = folder.run()
    workers = [w for key in run.sweep for w in folder.block("sweep", key).workers]
    bad = next(worker for worker in workers if worker.contestant == index)
    assert bad.status == status
    assert why in bad.why
    assert any(index in sentence for sentence in run.skipped)
    measured = {w.contestant for key in run.blocks for w in folder.block("measure", key).workers}
    assert measured == {"exact", "hnsw"}


def test_recall_that_falls_with_effort_is_invalid(compare):
    """Beyond chance: the sentence names the effort and both recalls."""
    folder, _ = compare("backwards", ("search", {"effort": [1, 5, 9]}))
    workers = [w for key in folder.run().sweep for w in folder.block("sweep", key).workers]
    bad = next(worker for worker in workers if worker.contestant == "backwards")
    assert bad.status == "invalid"
    assert "as effort rose from 1 to" in bad.why


def test_an_index_that_hangs_is_stopped_at_the_time_limit(compare):
    """The limit's name is in the sentence."""
    folder, _ = compare("hang", timeout_seconds=3.0)
    workers = [w for key in folder.run().sweep for w in folder.block("sweep", key).workers]
    assert "it took longer than 3 s (measure.timeout_seconds)" in next(w.why for w in workers if w.contestant == "hang")


def test_an_index_that_eats_memory_is_stopped_at_the_limit(compare):
    """By its own memory; the others, below the limit, go on."""
    folder, _ = compare("greedy", memory_limit_mb=700)
    workers = [w for key in folder.run().sweep for w in folder.block("sweep", key).workers]
    assert "more than the limit of 700 MB (measure.memory_limit_mb)" in next(w.why for w in workers if w.contestant == "greedy")
    assert all(w.status == "ok" for w in workers if w.contestant != "greedy")


def test_a_library_that_prints_does_not_disturb_the_protocol(compare):
    """Replies travel on a descriptor of their own."""
    folder, _ = compare("chatty")
    workers = [w for key in folder.run().blocks for w in folder.block("measure", key).workers]
    assert next(w.status for w in workers if w.contestant == "chatty") == "ok"


def test_an_answer_given_k_times_counts_once(compare):
    """Repeats of the true nearest score 1/k, not 1."""
    folder, _ = compare("repeater")
    run, truth = folder.run(), folder.truth("test")
    for measured in folder.measured("measure", folder.block("measure", run.blocks[0])):
        if measured.worker.contestant == "repeater":
            assert recall(measured.answers(0), truth, 10).tolist() == pytest.approx([0.1] * truth.rows.size)


def test_answers_that_change_between_rounds_are_noticed(compare):
    """`repeatable` is false; an honest index's is true."""
    folder, _ = compare("fickle", rounds=2)
    workers = [w for key in folder.run().blocks for w in folder.block("measure", key).workers]
    told = {w.contestant: [point.repeatable for point in w.points] for w in workers}
    assert not any(told["fickle"])
    assert all(told["hnsw"])


def test_a_run_in_which_everything_fails_says_so(adamem, vectors, tmp_path, tables_of):
    """Exit status 1 and the first reason."""
    tables = tables_of(vectors, rounds=1, build_seeds=1)
    tables["contestant"] = [{"name": "raises", "index": "raises"}]
    config = tmp_path / "bad.toml"
    config.write_text(tomli_w.dumps(tables))
    done = adamem("run", str(config), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "not one build succeeded" in done.stderr
    assert "the moon is in the wrong house" in done.stderr


def test_a_failed_block_is_json_that_a_person_can_read(compare):
    """The record beside the arrays is indented JSON with the reason in it."""
    folder, _ = compare("raises")
    texts = [path.read_text() for path in (folder.raw / "sweep").glob("*/block.json")]
    assert any(json.loads(text)["workers"][0]["status"] == "failed" and "\n" in text for text in texts)


def test_nothing_to_measure_is_an_error_of_the_trial(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """As a library: `TrialFailed`."""
    tables = tables_of(vectors, timeout_seconds=1e-6)
    with pytest.raises(TrialFailed, match="not one build succeeded"):
        run_again(tables, tmp_path / "run", reporter)
