"""All that the two stages share: the data on disk where workers can map it, the truth, and where results go."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adamem import __version__
from adamem.bench import machine
from adamem.bench.adapter import adapter_hash, measuring_hash
from adamem.bench.config import Experiment
from adamem.bench.plan import ContestantPlan
from adamem.bench.process import WorkerProcess
from adamem.bench.store import RunFolder
from adamem.bench.truth import Truth
from adamem.data.dataset import Dataset
from adamem.errors import CorruptResult, InvalidInput, StorageError
from adamem.files import content_key
from adamem.types import FloatArray


class Reporter(Protocol):
    """Where a run tells a person how far it is."""

    def stage(self, what: str, total: float) -> None:
        """A new stretch of work, of `total` steps, begins."""
        ...

    def now(self, what: str) -> None:
        """What is being done at this moment."""
        ...

    def advance(self, steps: float = 1.0) -> None:
        """So many steps are done."""
        ...

    def say(self, sentence: str) -> None:
        """Something worth a line of its own."""
        ...


@dataclass
class Context:
    """One run at work."""

    experiment: Experiment
    plans: list[ContestantPlan]
    dataset: Dataset
    folder: RunFolder
    scratch: Path
    reporter: Reporter
    calibration: Truth
    test: Truth
    base: dict[str, Any]
    """Where the base vectors lie: path, offset, rows, dim."""
    queries: dict[str, Path]
    """``calibration`` and ``test``: float32 .npy files in the truth's order."""
    memory_budget: int
    """Bytes that all workers of a block may hold together. Set when a run begins and kept with it: who sits in which
    cohort must not depend on what else the machine holds on the day a run goes on."""
    machine: str = field(default_factory=lambda: str(machine.describe()["fingerprint"]))

    @property
    def memory_limit(self) -> int:
        """Bytes of its own that one worker may take; the same for all of them."""
        limit = self.experiment.measure.memory_limit_mb
        return limit * 2**20 if limit else self.memory_budget

    def spec(self, **more: Any) -> dict[str, Any]:
        """What every block's key is made of, and more.

        Titles and other wording are left out: they change no measurement. Answers and timings share one key, the
        machine in it: on another machine an index must be built and asked anew for its timings, and that gives the
        answers as well, so that a key of their own would save nothing.
        """
        measure = self.experiment.measure
        named = {more["contestant"]} if "contestant" in more else {seat["contestant"] for seat in more["seats"]}
        taking_part = [plan for plan in self.plans if plan.name in named]
        runtimes = {plan.name: plan.runtime for plan in taking_part if plan.runtime is not None}
        # Whoever runs elsewhere has its code beside its runtime as well: two may share an index and not its code.
        adapters = {plan.config.index: plan.runtime.adapter for plan in taking_part if plan.runtime is not None}
        adapters |= {plan.config.index: adapter_hash(plan.config.index) for plan in taking_part if not plan.runtime}
        if runtimes:
            more["runtimes"] = {name: runtime.spec() for name, runtime in runtimes.items()}
        return {
            "adamem": __version__.split("+")[0],
            "dataset": self.dataset.fingerprint,
            "metric": self.dataset.metric,
            "queries": content_key([self.calibration.rows.tolist(), self.test.rows.tolist()]),
            "threads": measure.build_threads,
            "query_seconds": measure.query_seconds,
            "seed": measure.seed,
            "machine": self.machine,
            "versions": machine.library_versions(),
            "code": measuring_hash(),
            "adapters": adapters,
            **more,
        }

    def start(self, name: str) -> WorkerProcess:
        """A fresh worker process, which begins when it is given its build."""
        measure = self.experiment.measure
        return WorkerProcess(
            log=self.scratch / f"{name}.log",
            build_threads=measure.build_threads,
            memory_limit=self.memory_limit,
            timeout=measure.timeout_seconds,
        )

    def build(self, process: WorkerProcess, plan: ContestantPlan, build: dict[str, Any], seed: int) -> dict[str, Any]:
        """Have a worker build its index, in its contestant's own interpreter and environment. Raises `TrialFailed`."""
        if plan.runtime is not None:
            process.launch(python=plan.runtime.python, environment=plan.runtime.environment)
        return process.ask(
            "build",
            index=plan.config.index,
            metric=self.dataset.metric,
            base=self.base,
            build=build,
            seed=seed,
            threads=self.experiment.measure.build_threads,
            queries=str(self.queries["calibration"]),
        )


@contextmanager
def scratch_folder(run: Path, name: str) -> Iterator[Path]:
    """A folder for what lives no longer than the process; also the lock that keeps a second run out of the same folder.

    Folders that were made for it and in which nothing was written are gone afterwards.

    Raises
    ------
    InvalidInput
        if the folder holds something else than the run `name`: a run replaces what lies there.
    StorageError
        if another process is running this experiment into the same folder, or nothing can be written there.
    """
    _refuse_foreign(run, name)
    with alone_in(run) as scratch:
        yield scratch


@contextmanager
def alone_in(run: Path) -> Iterator[Path]:
    """As `scratch_folder`, whatever the folder holds."""
    made = [folder for folder in (run, *run.parents) if not folder.exists()]
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = open(run / ".lock", "w", encoding="utf-8")  # noqa: SIM115 -- closed by the with below
    except OSError as error:
        raise StorageError(f"cannot write into {run}: {error.strerror}; choose another folder with --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"another process is running into {run}; wait for it, or choose another folder with --out"
            ) from error
        scratch = run / ".scratch"
        for leaving in (scratch, *run.rglob(".*.tmp")):  # of a killed run
            shutil.rmtree(leaving, ignore_errors=True) if leaving.is_dir() else leaving.unlink(missing_ok=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            (run / ".lock").unlink(missing_ok=True)
            with suppress(OSError):  # the first that is not empty ends it
                for folder in made:
                    folder.rmdir()


def _refuse_foreign(run: Path, name: str) -> None:
    if not run.is_dir():
        return
    folder = RunFolder(run)
    if folder.exists:
        try:
            held = folder.run().name
        except CorruptResult:
            return  # whoever reads it says so
        if held != name:
            raise InvalidInput(
                f"{run} holds the run {held!r}, and this is {name!r}; choose another folder with --out, or remove that "
                "one"
            )
        return
    names = (entry.name for entry in run.iterdir())
    others = sorted(one for one in names if one not in _BEFORE_ANYTHING and not one.startswith(".run.json."))
    if others:
        raise InvalidInput(
            f"{run} holds {others[0]}, which is no run's, and a run would replace files there; choose a new folder "
            "with --out"
        )


_BEFORE_ANYTHING = (".lock", ".scratch", "raw")
"""What a run has in its folder, beside a half-written run.json, when it is killed before that file is there."""


def locate_vectors(base: FloatArray, scratch: Path) -> dict[str, Any]:
    """Where workers can map `base`: the file it is a leading part of, or else a copy in `scratch`."""
    rows, dim = base.shape
    root: Any = base
    while isinstance(root, np.ndarray) and not (isinstance(root, np.memmap) and not isinstance(root.base, np.memmap)):
        root = root.base
    if (
        isinstance(root, np.memmap)
        and root.filename is not None
        and root.dtype == np.float32
        and base.flags.c_contiguous
        and base.ctypes.data == root.ctypes.data
    ):
        return {"path": os.fspath(root.filename), "offset": int(root.offset), "rows": rows, "dim": dim}
    path = scratch / "base.f32"
    with open(path, "wb") as stream:
        step = max(1, (1 << 22) // dim)
        stream.writelines(
            np.ascontiguousarray(base[start : start + step], dtype=np.float32).tobytes()
            for start in range(0, rows, step)
        )
    return {"path": str(path), "offset": 0, "rows": rows, "dim": dim}
