"""A run from config to raw results: what is kept, what is done again, what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import tomli_w

from adamem.bench import Experiment, RunFolder, validate
from adamem.bench.metrics import recall
from adamem.bench.select import choose
from adamem.errors import ConfigError, InvalidInput, StorageError, TrialFailed, UnknownName


def _stamps(folder):
    return {path: path.stat().st_mtime_ns for path in sorted((folder / "raw").rglob("*")) if path.parent.name != "raw"}


def test_a_whole_run_is_complete_and_says_how(small_run):
    """run.json carries the data set, the split, the machine, the versions and the wall time of each stage."""
    run = RunFolder(small_run).run()
    assert run.status == "complete"
    assert run.dataset.n == 1500
    assert run.dataset.queries.calibration + run.dataset.queries.test == 60
    assert set(run.wall_seconds) == {"prepare", "sweep", "measure"}
    assert {"numpy", "hnswlib"} <= set(run.versions)
    assert len(run.sweep) == 4  # exact, the two of the grid, and the reference build
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
    """Around a target that the grid brackets, either the recalls and efforts stand close or no effort lies between."""
    folder = RunFolder(small_run)
    run = folder.run()
    closed = 0
    for one in choose(folder, run)["hnsw"].builds:
        pairs = sorted((search["ef"], score) for search, score in zip(one.searches, one.recalls, strict=True))
        for target in run.config["targets"]:
            low = max((pair for pair in pairs if pair[1] < target), default=None)
            high = min((pair for pair in pairs if pair[1] >= target), default=None)
            if low and high:
                assert (high[1] - low[1] <= 0.01 and high[0] <= 1.2 * low[0]) or high[0] - low[0] <= 1
                closed += 1
    assert closed > 0


def test_a_second_run_measures_nothing_again(small_run, vectors, reporter, tables_of, run_again):
    """Every block file keeps its time stamp, and the reporter is told that all was there."""
    before = _stamps(small_run)
    run_again(tables_of(vectors), small_run, reporter)
    assert _stamps(small_run) == before
    assert any("4 already measured" in stage for stage in reporter.stages)
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
    assert any("4 already measured" in stage for stage in reporter.stages)


def test_a_contestant_may_be_built_fewer_times(vectors, cache, tmp_path, tables_of, run_again):
    """It sits in the first block only, and the report says so."""
    from adamem.report.comparison import compare
    from adamem.report.loaded import load
    from adamem.report.tables.headline import headline

    tables = tables_of(vectors)
    tables["contestant"].append({"name": "slow", "index": "hnsw", "search": {"ef": [1, 4, 16]}, "build_seeds": 1})
    out = run_again(tables, tmp_path / "run")
    folder = RunFolder(out)
    names = [{worker.contestant for worker in folder.block("measure", key).workers} for key in folder.run().blocks]
    assert names == [{"exact", "hnsw", "slow"}, {"exact", "hnsw"}]
    assert ["build_seeds" in one for one in folder.run().config["contestant"]] == [False, False, True]
    assert any("Built fewer times than the others: slow (1)" in note for note in headline(compare(load(out))).notes)


def test_the_reference_is_built_as_often_as_all(vectors, tables_of):
    """Every ratio refers to it."""
    tables = tables_of(vectors)
    tables["contestant"][1] |= {"reference": True, "build_seeds": 1}
    with pytest.raises(ConfigError, match="hnsw is the reference, which every block needs; leave its build_seeds out"):
        validate(Experiment, tables, source="small.toml")


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
    with pytest.raises(
        ConfigError, match=r"small\.toml: measure\.k .* asks for 20 neighbours, but .* holds only 15 vectors"
    ):
        run_again(tables, tmp_path / "run", reporter)


def test_recall_at_a_k_that_is_not_asked_is_refused(vectors, tables_of):
    """An answer of 10 cannot be scored at 50; the config alone tells."""
    tables = tables_of(vectors)
    tables["measure"]["recall_at"] = [1, 50]
    with pytest.raises(ConfigError, match=r"recall at 50 needs answers of that length; add 50 to measure\.k"):
        validate(Experiment, tables, source="small.toml")


def test_an_experiment_without_targets_is_refused(vectors, tables_of):
    """Builds are chosen at targets: without one there is nothing to choose by, and no minute is spent to find out."""
    with pytest.raises(ConfigError, match="targets"):
        validate(Experiment, {**tables_of(vectors), "targets": []}, source="small.toml")


def test_a_bad_grid_is_refused_before_the_data_are_read(tmp_path, cache, tables_of, run_again):
    """The data set is not even there: the parameter is what the sentence is about."""
    tables = tables_of(tmp_path / "absent")
    tables["contestant"][1]["build"] = {"m": 4}
    with pytest.raises(ConfigError, match=r"contestant\['hnsw'\]\.build\.m = 4: unknown build parameter"):
        run_again(tables, tmp_path / "run")


def test_a_module_in_the_current_folder_does_not_reach_the_workers(vectors, start_adamem, tmp_path, tables_of):
    """Workers import what is installed, never what lies about."""
    for name in ("adamem.py", "numpy.py", "hnswlib.py"):
        (tmp_path / name).write_text("raise RuntimeError('the wrong module')\n")
    tables = tables_of(vectors, rounds=1, build_seeds=1)
    config = tmp_path / "small.toml"
    config.write_text(tomli_w.dumps(tables))
    done = start_adamem("run", str(config), "--out", str(tmp_path / "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_block_that_lost_a_file_is_measured_again(vectors, cache, tmp_path, tables_of, run_again):
    """As the sentence about a raw file that cannot be read advises: delete it and run again."""
    tables = tables_of(vectors, rounds=1, build_seeds=1)
    out = run_again(tables, tmp_path / "run")
    lost = next(out.glob("raw/blocks/*/0.npz"))
    others = {path: path.stat().st_mtime_ns for path in out.glob("raw/sweep/*/*")}
    lost.unlink()
    run_again(tables, out)
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in out.glob("raw/sweep/*/*")} == others


def test_what_failed_is_tried_again(vectors, cache, tmp_path, tables_of, run_again, reporter):
    """A failure may have been the machine's, or a limit's that was raised since; what succeeded stays."""
    tables = tables_of(vectors, rounds=1, build_seeds=1, memory_limit_mb=1)
    with pytest.raises(TrialFailed, match="more than the limit of 1 MB"):
        run_again(tables, tmp_path / "run")
    out = run_again(tables_of(vectors, rounds=1, build_seeds=1), tmp_path / "run", reporter)
    assert RunFolder(out).run().status == "complete"


def test_cohorts_hold_the_reference_and_its_twin_each():
    """Where not all builds fit in memory they are split, and each part has what ratios and the noise floor need."""
    from types import SimpleNamespace

    from adamem.bench.measure import Seat, _fit

    plan = SimpleNamespace(name="x", config=SimpleNamespace(index="x"))
    reference = Seat(plan, "reference", {}, (), 10)
    twin = Seat(plan, "twin", {}, (), 10)
    others = [Seat(plan, "contestant", {"M": size}, (), size) for size in (30, 40, 50, 10)]
    cohorts = _fit([reference, twin], others, budget=100)
    assert all(cohort[:2] == [reference, twin] for cohort in cohorts)
    assert [seat for cohort in cohorts for seat in cohort[2:]] == others
    assert len(cohorts) == 2
    assert all(sum(seat.bytes for seat in cohort) <= 100 for cohort in cohorts)


def test_a_run_goes_on_with_the_memory_that_it_began_with(vectors, cache, tmp_path, tables_of, run_again, monkeypatch):
    """Who sits in which cohort does not depend on what else the machine holds on the day."""
    tables = tables_of(vectors, rounds=1, build_seeds=1)
    out = run_again(tables, tmp_path / "run")
    before = _stamps(out)
    monkeypatch.setattr("adamem.bench.machine.free_memory", lambda: 1 << 20)
    run_again(tables, out)
    assert _stamps(out) == before


def test_single_queries_and_the_batch_agree(small_run):
    """Recall comes from the one call, latency from single ones: both gave the same answers."""
    folder = RunFolder(small_run)
    block = folder.block("measure", folder.run().blocks[0])
    assert all(point.agreement == 1.0 for worker in block.workers for point in worker.points)


def test_a_slow_point_asks_the_same_queries_in_every_round(vectors, cache, tmp_path, tables_of, run_again, clustered):
    """So that each of them has as many times as those of a fast one."""
    np.save(tmp_path / "base.npy", clustered(1500, 16, 1))
    np.save(tmp_path / "queries.npy", clustered(400, 16, 2))
    tables = tables_of(tmp_path, rounds=2, build_seeds=1, query_seconds=1e-6)
    tables["dataset"]["queries"] = 400
    folder = RunFolder(run_again(tables, tmp_path / "run"))
    for measured in folder.measured("measure", folder.block("measure", folder.run().blocks[0])):
        for p in range(len(measured.worker.points)):
            asked = np.isfinite(measured.one_seconds(p))
            assert (asked.sum(axis=1) == 50).all()
            assert (asked[0] == asked[1]).all()


def test_two_processes_do_not_write_into_one_folder(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """The second one is told so."""
    from adamem.bench.context import scratch_folder

    with (
        scratch_folder(tmp_path / "run", "small"),
        pytest.raises(StorageError, match="another process is running into"),
    ):
        run_again(tables_of(vectors), tmp_path / "run", reporter)


def test_a_folder_that_holds_something_else_is_left_alone(vectors, tmp_path, reporter, tables_of, run_again):
    """A user's own files are neither replaced nor swept, and the sentence names one."""
    mine = {"paper.tex": "text", "figures/fig1.png": "picture", ".scratch/note.txt": "note"}
    for name, text in mine.items():
        (tmp_path / "paper" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "paper" / name).write_text(text)
    with pytest.raises(
        InvalidInput, match=r"paper holds figures, which is no run's, .*; choose a new folder with --out"
    ):
        run_again(tables_of(vectors), tmp_path / "paper", reporter)
    assert {name: (tmp_path / "paper" / name).read_text() for name in mine} == mine


def test_a_run_killed_before_its_first_record_goes_on(vectors, cache, tmp_path, tables_of, run_again):
    """What it left, a half-written run.json among it, is its own and no reason to refuse."""
    out = tmp_path / "run"
    (out / "raw").mkdir(parents=True)
    (out / ".scratch").mkdir()
    for name in (".lock", ".run.json.0123456789ab.tmp"):
        (out / name).write_text("")
    run_again(tables_of(vectors, rounds=1, build_seeds=1), out)
    assert RunFolder(out).run().status == "complete"
    assert not list(out.glob(".*"))


def test_a_run_of_another_name_is_left_alone(small_run, vectors, reporter, tables_of, run_again):
    """Two experiments do not share a folder: the second would replace the first one's report."""
    before = _stamps(small_run), (small_run / "run.json").read_bytes()
    tables = {**tables_of(vectors), "name": "another"}
    with pytest.raises(InvalidInput, match=r"holds the run '.*', and this is 'another'; choose another folder"):
        run_again(tables, small_run, reporter)
    assert (_stamps(small_run), (small_run / "run.json").read_bytes()) == before


def test_a_refused_run_leaves_no_folder_behind(tmp_path, reporter, tables_of, run_again):
    """Neither its own nor the one above that was made for it."""
    with pytest.raises(UnknownName, match="there is no file or folder"):
        run_again(tables_of(tmp_path / "absent.npy"), tmp_path / "reports" / "run", reporter)
    assert not (tmp_path / "reports").exists()


def test_equal_builds_answer_equally_in_every_block(small_run):
    """With one build thread and one seed the reference and its twin give the same answers: quality is reproducible."""
    folder = RunFolder(small_run)
    for key in folder.run().blocks:
        found = {
            m.worker.role: m
            for m in folder.measured("measure", folder.block("measure", key))
            if m.worker.contestant == "hnsw"
        }
        for p in range(len(found["reference"].worker.points)):
            assert np.array_equal(found["reference"].answers(p).ranks, found["twin"].answers(p).ranks)


@pytest.fixture(scope="module")
def bad_run(start_adamem, vectors, tmp_path_factory, tables_of):
    """One run in which exact search and hnsw are measured beside every index that misbehaves quickly."""
    tables = tables_of(vectors, rounds=2, build_seeds=1, k=[10], recall_at=[10])
    tables["contestant"][1]["build"] = {"M": 4, "ef_construction": 20}
    for index in ("crash", "raises", "inventor", "liar", "blind", "nan", "chatty", "repeater", "fickle", "spread"):
        tables["contestant"].append({"name": index, "index": index})
    tables["contestant"].append({"name": "backwards", "index": "backwards", "search": {"effort": [1, 5, 9]}})
    folder = tmp_path_factory.mktemp("bad-run")
    config = folder / "bad.toml"
    config.write_text(tomli_w.dumps(tables))
    done = start_adamem("run", str(config), "--out", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return RunFolder(folder / "run")


def _sweep_worker(folder, name):
    workers = (w for key in folder.run().sweep for w in folder.block("sweep", key).workers)
    return next(worker for worker in workers if worker.contestant == name)


def _foreign(folder, name):
    blocks = (folder.block("sweep", key) for key in folder.run().sweep)
    return next(one.fitness.foreign for one in blocks if any(w.contestant == name for w in one.workers))


def _measured_worker(folder, name):
    block = folder.block("measure", folder.run().blocks[0])
    return next(measured for measured in folder.measured("measure", block) if measured.worker.contestant == name)


@pytest.mark.parametrize(
    ("index", "status", "why"),
    [
        ("crash", "failed", "its process was killed by SIGSEGV"),
        ("raises", "failed", "RuntimeError: the moon is in the wrong house"),
        ("inventor", "failed", "answered with the id 10000000, which is not in the collection"),
        ("liar", "invalid", "exact search scored 0.9"),
        ("blind", "invalid", "found not one true neighbour"),
        ("nan", "invalid", "reported no finite distance"),
        ("backwards", "invalid", "as effort rose from 1 to"),
        ("spread", "invalid", "cores instead of one"),
    ],
)
def test_a_misbehaving_index_is_recorded_with_its_reason(bad_run, index, status, why):
    """In the raw record and among what the run left out; stage 2 does without it."""
    worker = _sweep_worker(bad_run, index)
    if index == "spread" and worker.status == "ok" and (busy := _foreign(bad_run, index)) > 0.15:
        pytest.skip(f"other processes held {busy:.0%} of the CPU time: nobody could have had more than one core")
    assert worker.status == status
    assert why in worker.why
    run = bad_run.run()
    assert any(index in sentence for sentence in run.skipped)
    assert index not in {w.contestant for key in run.blocks for w in bad_run.block("measure", key).workers}


def test_the_others_go_on_beside_a_misbehaving_index(bad_run):
    """Exact search and hnsw are measured all the same."""
    assert _measured_worker(bad_run, "exact").worker.status == "ok"
    assert _measured_worker(bad_run, "hnsw").worker.status == "ok"


def test_a_library_that_prints_does_not_disturb_the_protocol(bad_run):
    """Replies travel on a descriptor of their own."""
    assert _measured_worker(bad_run, "chatty").worker.status == "ok"


def test_an_answer_given_k_times_counts_once(bad_run):
    """Repeats of the true nearest score 1/k, not 1."""
    truth = bad_run.truth("test")
    scores = recall(_measured_worker(bad_run, "repeater").answers(0), truth, 10)
    assert scores.tolist() == pytest.approx([0.1] * truth.rows.size)


def test_answers_that_change_between_rounds_are_noticed(bad_run):
    """`repeatable` is false; an honest index's is true."""
    assert not any(point.repeatable for point in _measured_worker(bad_run, "fickle").worker.points)
    assert all(point.repeatable for point in _measured_worker(bad_run, "hnsw").worker.points)


def test_a_failed_block_is_json_that_a_person_can_read(bad_run):
    """The record beside the arrays is indented JSON with the reason in it."""
    texts = [path.read_text() for path in (bad_run.raw / "sweep").glob("*/block.json")]
    assert any(json.loads(text)["workers"][0]["status"] == "failed" and "\n" in text for text in texts)


def test_an_index_that_outstays_or_outgrows_its_limits_is_stopped(start_adamem, vectors, tmp_path, tables_of):
    """The sentence has the limit and its name in the config; the others, below the limits, go on."""
    tables = tables_of(
        vectors, rounds=1, build_seeds=1, k=[10], recall_at=[10], timeout_seconds=20.0, memory_limit_mb=700
    )
    tables["contestant"] = [
        tables["contestant"][0],
        {"name": "hang", "index": "hang"},
        {"name": "greedy", "index": "greedy"},
    ]
    config = tmp_path / "bad.toml"
    config.write_text(tomli_w.dumps(tables))
    start_adamem("run", str(config), "--out", str(tmp_path / "run"))
    folder = RunFolder(tmp_path / "run")
    assert "it took longer than 20 s (measure.timeout_seconds)" in _sweep_worker(folder, "hang").why
    assert "more than the limit of 700 MB (measure.memory_limit_mb)" in _sweep_worker(folder, "greedy").why
    assert _sweep_worker(folder, "exact").status == "ok"


def test_a_run_in_which_everything_fails_says_so(start_adamem, vectors, tmp_path, tables_of):
    """Exit status 1 and the first reason."""
    tables = tables_of(vectors, rounds=1, build_seeds=1)
    tables["contestant"] = [{"name": "raises", "index": "raises"}]
    config = tmp_path / "bad.toml"
    config.write_text(tomli_w.dumps(tables))
    done = start_adamem("run", str(config), "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert "not one build succeeded" in done.stderr
    assert "the moon is in the wrong house" in done.stderr


def test_nothing_to_measure_is_an_error_of_the_trial(vectors, cache, tmp_path, reporter, tables_of, run_again):
    """As a library: `TrialFailed`."""
    tables = tables_of(vectors, timeout_seconds=1e-6)
    with pytest.raises(TrialFailed, match="not one build succeeded"):
        run_again(tables, tmp_path / "run", reporter)


def test_contestants_of_one_index_keep_their_own_names(vectors, cache, tmp_path, tables_of, run_again):
    """Two of one index with one and the same build are two contestants, and a new name is a new contestant."""
    tables = tables_of(vectors, rounds=1, build_seeds=1, k=[10], recall_at=[10])
    tables["contestant"][1]["build"] = {"M": 4, "ef_construction": 20}
    tables["contestant"].append({**tables["contestant"][1], "name": "hnsw again"})
    out = run_again(tables, tmp_path / "run")
    folder = RunFolder(out)
    assert {w.contestant for key in folder.run().sweep for w in folder.block("sweep", key).workers} == {
        "exact",
        "hnsw",
        "hnsw again",
    }
    tables["contestant"][2]["name"] = "another"
    run = RunFolder(run_again(tables, out)).run()
    assert "another" in {w.contestant for key in run.blocks for w in folder.block("measure", key).workers}
