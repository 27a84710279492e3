"""Writing a report: everything is computed from the raw files, and nothing else gets in, not even the time of day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adamem.bench.adaptation.records import is_adaptation
from adamem.bench.drift.records import is_drift
from adamem.bench.engine import is_engine
from adamem.bench.suite import is_suite
from adamem.files import atomic_write, write_json
from adamem.report import html, markdown
from adamem.report.adaptation import compose as adaptation
from adamem.report.adaptation.gathered import gather as gather_adaptation
from adamem.report.comparison import Comparison, compare
from adamem.report.compose import compose
from adamem.report.document import Document, Figure
from adamem.report.drift import compose as drift
from adamem.report.drift.gathered import gather as gather_drift
from adamem.report.engine import compose as engine
from adamem.report.engine.gathered import gather
from adamem.report.figures import draw
from adamem.report.loaded import load
from adamem.report.overview import compose as overview
from adamem.report.overview.members import read_overview

MANIFEST = "report-manifest.json"


@dataclass(frozen=True)
class Composed:
    """A report before it is written: what it says, whom its colours stand for, and what its two pages are called."""

    document: Document
    contestants: list[tuple[str, str]]
    """(name, index), in the config's order."""
    markdown: str
    html: str


def write(path: Path) -> Path:
    """Write the report of the run, or the overview of the suite, in the folder `path`; returns its page.

    Raises
    ------
    DataError
        if there is no run.
    CorruptResult
        if a raw file, or a table that an overview rests on, is not what was written.
    StorageError
        if the report cannot be written; files are replaced one by one, each whole.
    """
    path = Path(path)
    composed = _composed(path)
    pictures = _draw(composed, composed.document.figures())
    outputs = {**_texts(composed, pictures), **{f"figures/{name}": content for name, content in pictures.items()}}
    for name, content in sorted(outputs.items()):
        with atomic_write(path / name) as stream:
            stream.write(content)
    _drop_stale(path, set(outputs))
    write_json(path / MANIFEST, _manifest(outputs))
    return page(path)


def render(path: Path) -> dict[str, bytes]:
    """Every text file of the report by its name below the run's folder, as `write` writes it.

    Equal raw files give equal bytes. Pictures are no part of it: another release of matplotlib draws other bytes. Those
    that the folder's manifest vouches for, and whose data are still what the raw files give, are put into the page as
    they are; the others are drawn anew. Raises as `write` does.
    """
    path = Path(path)
    composed = _composed(path)
    pictures = _stored(path, composed.document.figures())
    missing = [figure for figure in composed.document.figures() if f"{figure.name}.svg" not in pictures]
    return dict(sorted(_texts(composed, {**pictures, **_draw(composed, missing)}).items()))


def page(path: Path) -> Path:
    """The page to open: of a run report.html, of a suite index.html."""
    return pages(path)[1]


def pages(path: Path) -> tuple[Path, Path]:
    """The report as Markdown and as HTML."""
    names = ("README.md", "index.html") if is_suite(path) else ("report.md", "report.html")
    return Path(path) / names[0], Path(path) / names[1]


def compared(path: Path) -> Comparison:
    """The comparison that the report of a run rests on."""
    return compare(load(path))


def _composed(path: Path) -> Composed:
    if is_engine(path):
        of_engine = gather(path)
        document = engine.compose(of_engine)
        return Composed(document, of_engine.contestants, *(one.name for one in pages(path)))
    if is_adaptation(path):
        of_adaptation = gather_adaptation(path)
        document = adaptation.compose(of_adaptation)
        return Composed(document, of_adaptation.contestants, *(one.name for one in pages(path)))
    if is_drift(path):
        of_drift = gather_drift(path)
        return Composed(drift.compose(of_drift), of_drift.contestants, *(one.name for one in pages(path)))
    if is_suite(path):
        gathered = read_overview(path)
        return Composed(overview.compose(gathered), gathered.contestants, *(one.name for one in pages(path)))
    comparison = compared(path)
    contestants = [(one.name, one.index) for one in comparison.loaded.contestants]
    return Composed(compose(comparison), contestants, *(one.name for one in pages(path)))


def _texts(composed: Composed, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    document = composed.document
    out = {f"figures/{figure.name}.csv": figure.csv() for figure in document.figures()}
    out |= {f"tables/{table.name}.csv": table.csv() for table in document.tables()}
    out[composed.markdown] = markdown.render(document)
    drawn = {figure.name: pictures[f"{figure.name}.svg"] for figure in document.figures()}
    out[composed.html] = html.render(document, drawn)
    return out


def _draw(composed: Composed, figures: Sequence[Figure]) -> dict[str, bytes]:
    out = {}
    for figure in figures:
        out[f"{figure.name}.svg"], out[f"{figure.name}.png"] = draw(figure, composed.contestants)
    return out


def _stored(path: Path, figures: Sequence[Figure]) -> dict[str, bytes]:
    """The drawn SVGs of a former `write` that can be taken as they are."""
    try:
        listed = json.loads((path / MANIFEST).read_bytes())
        held = {
            name: (path / name).read_bytes()
            for f in figures
            for name in (f"figures/{f.name}.svg", f"figures/{f.name}.csv")
        }
        return {
            f"{figure.name}.svg": held[f"figures/{figure.name}.svg"]
            for figure in figures
            if held[f"figures/{figure.name}.csv"] == figure.csv()
            and _sha256(held[f"figures/{figure.name}.svg"]) == listed[f"figures/{figure.name}.svg"]["sha256"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # no report yet, or not one that can be relied on: all are drawn


def _manifest(outputs: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in outputs.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _drop_stale(path: Path, kept: set[str]) -> None:
    """Remove what the former report wrote and this one does not: nobody shall take it for current.

    Only what the former manifest lists goes, and only from the two folders: the rest is somebody else's.
    """
    try:
        listed = list(json.loads((path / MANIFEST).read_bytes()))
    except (OSError, ValueError, TypeError):
        return
    for name in sorted(set(map(str, listed)) - kept):
        folder, _, file = name.partition("/")
        if folder in ("tables", "figures") and file == Path(file).name:
            (path / folder / file).unlink(missing_ok=True)
