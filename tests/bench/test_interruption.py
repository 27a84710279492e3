"""Ctrl-C and kill -9 at any moment: the block in flight is lost, nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import tomli_w

from adamem.bench import RunFolder


@pytest.fixture
def begin(vectors, cache, bad_indexes, tmp_path, tables_of):
    """`begin(**measure)`: start a run in a process of its own; the process, the config's path and the run's folder."""
    started: list[subprocess.Popen] = []

    def start(**measure):
        tables = tables_of(vectors, rounds=3, **measure)
        tables["contestant"][1]["build"]["M"] = [2, 3, 4]
        config = tmp_path / "small.toml"
        config.write_text(tomli_w.dumps(tables))
        command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "run"]
        process = subprocess.Popen(
            [*command, str(config), "--out", str(tmp_path / "run")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(bad_indexes)},
        )
        started.append(process)
        return process, config, tmp_path / "run"

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _wait_for(process, done, seconds=120.0):
    """Until `done()` holds; the process must not end before."""
    limit = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < limit, "the run did not come that far"
        time.sleep(0.01)


def _blocks(out):
    return [path for path in sorted(out.glob("raw/*/*/block.json")) if not path.parent.name.startswith(".")]


def _bytes(out):
    return {path: path.read_bytes() for record in _blocks(out) for path in sorted(record.parent.iterdir())}


def _is_whole(out):
    """Whether every block folder that has its final name can be read with all its arrays."""
    folder = RunFolder(out)
    for record in _blocks(out):
        stage = "sweep" if record.parent.parent.name == "sweep" else "measure"
        block = folder.block(stage, record.parent.name)
        for measured in folder.measured(stage, block):
            assert len(measured.arrays) >= len(measured.worker.points)
    return True


def _workers():
    everyone = psutil.process_iter(["cmdline"])
    return [process for process in everyone if "adamem.bench.worker" in (process.info["cmdline"] or [])]


@pytest.mark.parametrize(
    "blocks", [pytest.param(1, marks=pytest.mark.soak), pytest.param(5, marks=pytest.mark.soak), 6]
)
def test_a_killed_run_goes_on_where_it_was(begin, start_adamem, blocks):
    """kill -9 after so many blocks (5 in stage 1, then 2 in stage 2): what was whole keeps its bytes, and the run
    completes with a report that verifies."""
    process, config, out = begin()
    _wait_for(process, lambda: len(_blocks(out)) >= blocks)
    process.kill()
    process.wait()
    kept = _bytes(out)
    assert _is_whole(out)
    done = start_adamem("run", str(config), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "already measured" in done.stderr
    after = _bytes(out)
    assert {path: after[path] for path in kept} == kept
    assert RunFolder(out).run().status == "complete"
    assert [path.name for path in out.rglob(".*")] == [], "a killed run's leavings are cleared away"
    verified = start_adamem("verify", str(out))
    assert verified.returncode == 0, verified.stdout


def test_a_kill_takes_the_workers_along(begin):
    """No orphan goes on building behind the back of the run that follows."""
    before = {process.pid for process in _workers()}
    process, _, _ = begin()
    _wait_for(process, lambda: {one.pid for one in _workers()} - before)
    ours = [one for one in _workers() if one.pid not in before]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ours, timeout=10)
    assert [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_kill_takes_along_what_measures_an_engine(tmp_path):
    """The process that holds it, too: it would go on for minutes, beside the run that follows."""
    (tmp_path / "work.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'at-work')!r}).touch()\ntime.sleep(600)\n"
    )
    code = (
        "import runpy\nfrom adamem.bench.engine.scale import in_a_process\n"
        f"in_a_process(runpy.run_path, {str(tmp_path / 'work.py')!r})"
    )
    process = subprocess.Popen([sys.executable, "-P", "-c", code])
    _wait_for(process, (tmp_path / "at-work").exists)
    theirs = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(theirs, timeout=10)
    assert [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


def test_ctrl_c_leaves_with_a_sentence(begin, start_adamem):
    """Exit status 130, no traceback, no scratch left; the same command goes on."""
    process, config, out = begin()
    _wait_for(process, lambda: len(_blocks(out)) >= 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what was finished is kept, the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert not (out / ".scratch").exists()
    kept = _bytes(out)
    done = start_adamem("run", str(config), "--out", str(out))
    assert done.returncode == 0, done.stderr
    after = _bytes(out)
    assert {path: after[path] for path in kept} == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_loses_only_the_block_in_flight(begin, start_adamem, tmp_path, vectors, tables_of):
    """One sentence, exit status 2; with room again the same command goes on and completes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        config = tmp_path / "small.toml"
        config.write_text(tomli_w.dumps(tables_of(vectors, rounds=2)))
        done = start_adamem("run", str(config), "--out", str(disk / "run"))
        assert done.returncode == 2, done.stderr
        assert "the disk is full; free some space or choose another folder" in done.stderr
        assert "Traceback" not in done.stderr
        assert _is_whole(disk / "run")
        kept = _bytes(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = start_adamem("run", str(config), "--out", str(disk / "run"))
        assert again.returncode == 0, again.stderr
        after = _bytes(disk / "run")
        assert {path: after[path] for path in kept} == kept
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.soak
def test_a_hundred_kills_at_random_moments_lose_nothing(begin, start_adamem):
    """kill -9 again and again, at moments drawn at random; every whole block keeps its bytes to the end."""
    import random

    draw = random.Random(7)
    kept: dict = {}
    out = config = None
    for _ in range(100):
        process, config, out = begin()
        time.sleep(draw.uniform(0.2, 6.0))
        process.kill()
        process.communicate()
        now = _bytes(out)
        assert {path: now[path] for path in kept} == kept
        assert _is_whole(out)
        kept = now
    done = start_adamem("run", str(config), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert {path: _bytes(out)[path] for path in kept} == kept
    assert start_adamem("verify", str(out)).returncode == 0
