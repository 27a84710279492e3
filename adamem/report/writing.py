"""Writing a report: everything is computed from the raw files, and nothing else gets in, not even the time of day."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from adamem import __version__
from adamem.files import atomic_write, write_json
from adamem.report import html, markdown
from adamem.report.comparison import Comparison, compare
from adamem.report.compose import compose
from adamem.report.figures import draw
from adamem.report.loaded import load

MANIFEST = "report-manifest.json"


def write(path: Path) -> Path:
    """Write the report of the run in the folder `path`; returns report.html's path.

    Raises
    ------
    DataError
        if there is no run.
    CorruptResult
        if a raw file is not what was written.
    StorageError
        if the report cannot be written; files are replaced one by one, each whole.
    """
    path = Path(path)
    outputs = _outputs(path)
    for name, content in outputs.items():
        with atomic_write(path / name) as stream:
            stream.write(content)
    _drop_stale(path, set(outputs))
    write_json(path / MANIFEST, _manifest(outputs))
    return path / "report.html"


def render(path: Path) -> dict[str, bytes]:
    """Every text file of the report by its name below the run's folder, as `write` writes it; equal raw files give equal bytes.

    The pictures themselves are left out (.svg, .png: another release of matplotlib draws them otherwise); each has
    its figures in a .csv. Raises as `write` does.
    """
    return {name: content for name, content in _outputs(Path(path)).items() if not name.endswith((".svg", ".png"))}


def compared(path: Path) -> Comparison:
    """The comparison that the report rests on."""
    return compare(load(path))


def _outputs(path: Path) -> dict[str, bytes]:
    comparison = compared(path)
    document = compose(comparison)
    out: dict[str, bytes] = {}
    drawn: dict[str, bytes] = {}
    contestants = [(one.name, one.index) for one in comparison.loaded.contestants]
    for figure in document.figures():
        drawn[figure.name], png = draw(figure, contestants)
        out[f"figures/{figure.name}.csv"] = figure.csv()
        out[f"figures/{figure.name}.svg"] = drawn[figure.name]
        out[f"figures/{figure.name}.png"] = png
    for table in document.tables():
        out[f"tables/{table.name}.csv"] = table.csv()
    out["report.md"] = markdown.render(document)
    out["report.html"] = html.render(document, drawn)
    return dict(sorted(out.items()))


def _manifest(outputs: dict[str, bytes]) -> dict[str, Any]:
    import matplotlib as mpl

    return {
        "adamem": __version__,
        "matplotlib": mpl.__version__,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in outputs.items()
        },
    }


def _drop_stale(path: Path, kept: set[str]) -> None:
    """Remove tables and figures of a former report that this one has not: nobody shall take them for current."""
    for folder in ("tables", "figures"):
        for file in sorted((path / folder).glob("*")):
            if file.is_file() and f"{folder}/{file.name}" not in kept:
                file.unlink()
