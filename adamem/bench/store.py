"""A run's folder: raw results that are written once, whole, under the hash of what they are."""

from __future__ import annotations

import io
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from adamem.bench.records import FORMAT, Block, Run, Worker
from adamem.bench.truth import Answers, Truth
from adamem.errors import CorruptResult, DataError
from adamem.files import atomic_folder, atomic_write, sha256_file, write_json
from adamem.types import AnyArray

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Measured:
    """One worker's record with its arrays."""

    worker: Worker
    arrays: dict[str, AnyArray]

    def answers(self, point: int) -> Answers:
        """What was answered at the point number `point`."""
        return Answers.from_arrays(self.arrays, f"p{point}_")

    def one_seconds(self, point: int) -> AnyArray:
        """float64 (rounds, q): seconds of each query asked alone; NaN where a slow point skipped it."""
        raw = self.arrays[f"p{point}_one_ns"].astype(np.float64)
        raw[raw == 0] = np.nan
        return np.asarray(raw * 1e-9)

    def batch_seconds(self, point: int) -> AnyArray:
        """float64 (rounds,): seconds of all queries in one call."""
        return np.asarray(self.arrays[f"p{point}_batch_ns"].astype(np.float64) * 1e-9)


_UNREADABLE = (
    *(ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(RuntimeError, MemoryError),  # a flipped bit may ask for a password, another method, or a huge dictionary
)


class RunFolder:
    """Reads and writes one run's folder (`adamem.bench.records` has its layout)."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.raw = self.path / "raw"

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "run.json").exists()

    # -- reading ---------------------------------------------------------------------------------------------------

    def run(self) -> Run:
        """run.json. Raises `DataError` if there is none, `CorruptResult` if it is not what was written."""
        path = self.path / "run.json"
        if not path.exists():
            raise DataError(
                f"{self.path} holds no run (no run.json); name a folder that `adamem run` or `adamem compare` made"
            )
        try:
            run = Run.model_validate_json(path.read_bytes())
        except (ValidationError, ValueError) as error:
            raise CorruptResult(
                f"{path} is not a run's record ({_first(error)}); restore it or run the experiment again"
            ) from error
        if run.format > FORMAT:
            raise CorruptResult(f"{path} has format {run.format}, this version reads up to {FORMAT}; upgrade adamem")
        return run

    def truth(self, which: str) -> Truth:
        """The true neighbours of the ``calibration`` or the ``test`` queries."""
        return Truth.from_arrays(self.arrays(f"truth-{which}.npz"))

    def has(self, name: str) -> bool:
        """Whether the raw file `name` is there."""
        return (self.raw / name).exists()

    def arrays(self, name: str) -> dict[str, AnyArray]:
        """The arrays of a raw .npz file."""
        path = self.raw / name
        try:
            # Opened here, because numpy leaves its own handle open when it refuses a file.
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except FileNotFoundError as error:
            raise CorruptResult(
                f"the raw file {path} is missing; run the experiment again to measure it anew"
            ) from error
        except _UNREADABLE as error:
            raise CorruptResult(
                f"the raw file {path} cannot be read ({error}); delete it and run the experiment again"
            ) from error

    def has_block(self, stage: str, key: str) -> bool:
        """Whether that block was measured whole.

        One that lacks a file is not, nor is one in which a worker failed: that may have been the machine, or a limit
        that has been raised since. Both are measured again.
        """
        folder = self._block_folder(stage, key)
        if not (folder / "block.json").exists():
            return False
        workers = self.block(stage, key).workers
        if any(worker.status == "failed" for worker in workers):
            return False
        return all((folder / f"{number}.npz").exists() for number, worker in enumerate(workers) if worker.points)

    def block(self, stage: str, key: str) -> Block:
        """The record of one block."""
        path = self._block_folder(stage, key) / "block.json"
        try:
            return Block.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise CorruptResult(
                f"the raw block {path} is missing; run the experiment again to measure it anew"
            ) from error
        except (ValidationError, ValueError) as error:
            raise CorruptResult(
                f"{path} is not a block's record ({_first(error)}); delete its folder and run again"
            ) from error

    def measured(self, stage: str, block: Block) -> Iterator[Measured]:
        """The block's workers with their arrays, one after the other; failed ones have no arrays."""
        folder = self._block_folder(stage, block.key).relative_to(self.raw)
        for number, worker in enumerate(block.workers):
            arrays = self.arrays(f"{folder}/{number}.npz") if worker.points else {}
            yield Measured(worker, arrays)

    # -- writing ---------------------------------------------------------------------------------------------------

    def write_run(self, run: Run) -> None:
        """Write run.json, and the manifest of the raw files that it counts."""
        write_json(self.path / "run.json", run.model_dump(mode="json"))

    def write_arrays(self, name: str, arrays: dict[str, AnyArray]) -> None:
        """Write a raw .npz file, atomically; equal arrays give equal bytes."""
        with atomic_write(self.raw / name) as stream:
            stream.write(npz(arrays))

    def write_block(self, block: Block, arrays: list[dict[str, AnyArray]]) -> None:
        """Write a whole block at once: it is there with everything, or not at all. Replaces one that was not whole."""
        folder = self._block_folder(block.stage, block.key)
        if self.has_block(block.stage, block.key):
            raise CorruptResult(f"{folder} exists already; a measured block is never overwritten, delete it first")
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_folder(folder) as scratch:
            for number, (worker, held) in enumerate(zip(block.workers, arrays, strict=True)):
                if worker.points:
                    (scratch / f"{number}.npz").write_bytes(npz(held))
            (scratch / "block.json").write_text(block.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def raw_files(self, run: Run) -> list[Path]:
        """Every raw file that `run` counts, sorted."""
        wanted = sorted(self.raw.glob("*.npz"))
        for stage, keys in (("sweep", run.sweep), ("measure", run.blocks)):
            for key in keys:
                wanted.extend(sorted(self._block_folder(stage, key).iterdir()))
        return sorted(wanted)

    def write_manifest(self, run: Run) -> None:
        """Write raw/manifest.json: each raw file with its SHA-256 and size."""
        write_json(
            self.raw / "manifest.json",
            {
                str(path.relative_to(self.raw)): {"sha256": sha256_file(path), "bytes": path.stat().st_size}
                for path in self.raw_files(run)
            },
        )

    def _block_folder(self, stage: str, key: str) -> Path:
        return self.raw / ("sweep" if stage == "sweep" else "blocks") / key[:16]


def npz(arrays: dict[str, AnyArray]) -> bytes:
    """A compressed .npz whose bytes depend on the arrays alone (numpy stamps the time of day into its own).

    LZMA, which numpy reads like any: on times in nanoseconds a sixth smaller than what numpy writes itself.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for name in sorted(arrays):
            inner = io.BytesIO()
            np.lib.format.write_array(inner, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_DATE)
            info.compress_type = zipfile.ZIP_LZMA
            info.external_attr = 0o644 << 16
            archive.writestr(info, inner.getvalue())
    return buffer.getvalue()


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first: dict[str, Any] = dict(error.errors()[0])
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
