"""Does a report follow from its raw files? Recompute every table cell and figure value, and compare."""

from __future__ import annotations

import json
from pathlib import Path

from adamem.bench.adaptation.records import AdaptationFolder
from adamem.bench.config import Experiment
from adamem.bench.drift.records import DriftFolder
from adamem.bench.engine import EngineFolder
from adamem.bench.integrity import raw_findings
from adamem.bench.pieces import PieceFolder
from adamem.bench.records import Run
from adamem.bench.store import RunFolder
from adamem.bench.suite import is_suite
from adamem.data.dataset import Dataset
from adamem.data.progress import Progress, silent
from adamem.errors import CorruptResult, InvalidInput, UserError
from adamem.files import sha256_file
from adamem.report.compare_text import differences

_TEXTS = ("tables/*.csv", "figures/*.csv")


def verify(path: Path, *, deep: bool = False, pieces: bool = True, progress: Progress | None = None) -> list[str]:
    """What in a run's folder does not follow from its raw files, as sentences; empty if all does.

    Of a suite, every finished data set so (but for `pieces` false), and the overview from their tables.

    1. Every raw file is there and is what was written; records, keys and arrays fit together. The run is complete, or
       its report says which part of it there is.
    2. Every table, figure value, report.md and report.html is what the raw files give, scored by the metric version
       that the run recorded; every picture, known by its SHA-256, is the one that was drawn.
    3. With `deep`, the data set is loaded, and true neighbours, distances and hardness are computed anew.

    Raises
    ------
    DataError
        if the folder holds no run at all.
    UserError
        with `deep`, if the data set cannot be had, or the run is not one that compares indexes.
    """
    for folder_of in (EngineFolder, AdaptationFolder, DriftFolder):
        if folder_of.is_at(path):
            if deep:
                raise InvalidInput(
                    f"{path} is no comparison of indexes, of which alone --deep computes the true neighbours anew; "
                    "without it, every figure is recomputed from the raw files"
                )
            return _pieces_findings(folder_of(Path(path)))
    if is_suite(path):
        return _suite_findings(Path(path), deep=deep, pieces=pieces, progress=progress)
    folder = RunFolder(path)
    try:
        run = folder.run()
    except CorruptResult as error:
        return [str(error)]
    out = raw_findings(folder, run, progress=progress)
    out += _report_findings(folder.path, damaged=bool(out))
    if deep:
        if out:
            return [*out, "the data set was not consulted, because the findings above come first"]
        from adamem.bench.deep import deep_findings  # noqa: PLC0415  (only a deep check reads data)

        out += deep_findings(folder, run, _dataset(run, progress), progress=progress)
    return out


def is_part(path: Path) -> bool:
    """Whether the folder's report is of a part of what was planned, and says of which."""
    return AdaptationFolder.is_at(path) and AdaptationFolder(Path(path)).run().status != "complete"


def _pieces_findings(folder: PieceFolder) -> list[str]:
    try:
        out = folder.findings(folder.run())
    except CorruptResult as error:
        return [str(error)]
    return out + _report_findings(folder.path, damaged=bool(out))


def _suite_findings(path: Path, *, deep: bool, pieces: bool, progress: Progress | None) -> list[str]:
    # Imported here, as below.
    from adamem.report.overview.members import read_overview  # noqa: PLC0415

    try:
        members = read_overview(path).members
    except CorruptResult as error:
        return [str(error)]
    out = []
    for member in members if pieces else ():
        out += [f"{member.key}: {said}" for said in verify(member.folder, deep=deep, progress=progress)]
    return out + _report_findings(path, damaged=bool(out))


class _Reporter:
    """The runner's way to tell of progress, as the data layer's."""

    def __init__(self, progress: Progress | None) -> None:
        self._tell = progress or silent
        self._what, self._total, self._done = "", 0.0, 0.0

    def stage(self, what: str, total: float) -> None:
        self._what, self._total, self._done = what, total, 0.0

    def now(self, what: str) -> None:
        self._tell(int(self._done), int(self._total), what)

    def advance(self, steps: float = 1.0) -> None:
        self._done += steps
        self._tell(int(self._done), int(self._total), self._what)

    def say(self, sentence: str) -> None:
        self._tell(int(self._done), int(self._total), sentence)


def _dataset(run: Run, progress: Progress | None) -> Dataset:
    """The data set that run.json names, as the run loaded it."""
    from adamem.bench.load import load_dataset  # noqa: PLC0415  (only a deep check reads data)

    config = {name: value for name, value in run.config.items() if name in Experiment.model_fields}
    return load_dataset(Experiment.model_validate(config), reporter=_Reporter(progress))


def _report_findings(path: Path, *, damaged: bool) -> list[str]:
    # Imported here, because they bring the drawing library along, and findings about raw files need none.
    from adamem.report.writing import MANIFEST, pages, render  # noqa: PLC0415

    if not (path / MANIFEST).exists() and not pages(path)[0].exists():
        return [f"the folder holds no report; `adamem report {path}` makes one"]
    try:
        expected = render(path)
    except UserError as error:
        return [f"the report cannot be recomputed: {error}"]
    except Exception as error:  # raw files that do not fit together can fail anywhere
        if not damaged:
            raise
        return [f"the report cannot be recomputed from raw files that do not fit together ({error})"]
    out, hashes, sizes = _listed(path / MANIFEST)
    for name, content in sorted(expected.items()):
        file = path / name
        out += differences(name, file.read_bytes(), content) if file.is_file() else [f"{name} is missing"]
    present = {str(file.relative_to(path)) for pattern in _TEXTS for file in path.glob(pattern)}
    out += [f"{name} does not come from this run's raw files" for name in sorted(present - set(expected))]
    for name, wanted in sorted(hashes.items()):
        file = path / name
        if not file.is_file():
            out += [] if name in expected else [f"{name} is missing"]
        elif sha256_file(file) != wanted:
            out.append(f"{name} is not what was written: its SHA-256 differs from {MANIFEST}'s")
        elif file.stat().st_size != sizes[name]:
            out.append(f"{MANIFEST} says that {name} has {sizes[name]} bytes, but it has {file.stat().st_size}")
    drawn = {str(file.relative_to(path)) for kind in ("svg", "png") for file in path.glob(f"figures/*.{kind}")}
    return out + [f"{name} is not in {MANIFEST}" for name in sorted(drawn - set(hashes))]


def _listed(manifest: Path) -> tuple[list[str], dict[str, str], dict[str, int]]:
    """What is wrong with the report's manifest, and the SHA-256 and the size that it has for each file."""
    try:
        files = json.loads(manifest.read_bytes())
        hashes = {name: str(entry["sha256"]) for name, entry in files.items()}
        return [], hashes, {name: int(entry["bytes"]) for name, entry in files.items()}
    except FileNotFoundError:
        return [f"{manifest.name} is missing; nothing vouches for the pictures"], {}, {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{manifest.name} is not a manifest ({error!r}); nothing vouches for the pictures"], {}, {}
