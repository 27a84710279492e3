"""From a run to its report: which sections there are, in which order."""

from __future__ import annotations

from adamem.report import answer
from adamem.report.comparison import Comparison
from adamem.report.document import Block, Document, Paragraph, Section
from adamem.report.figures import pareto
from adamem.report.tables.headline import headline


def compose(comparison: Comparison) -> Document:
    """The whole report of a run."""
    run = comparison.loaded.run
    data = run.dataset
    return Document(
        title=run.title,
        subtitle=f"{data.name}: {data.n:,} vectors of {data.dim} dimensions, {data.metric}; "
        f"{data.queries.test:,} test queries; k = {comparison.loaded.k}",
        sections=tuple(section for section in (_first(comparison), _speed(comparison)) if section.blocks),
    )


def _first(comparison: Comparison) -> Section:
    blocks: list[Block] = [
        Paragraph(answer.answer(comparison), "answer"),
        Paragraph(f"{answer.exact_sentence(comparison)} {answer.caveat(comparison)}"),
    ]
    if comparison.entries:
        blocks.append(headline(comparison))
    return Section("answer", "Which index should I use here?", tuple(blocks))


def _speed(comparison: Comparison) -> Section:
    figure = pareto.data(comparison)
    return Section("speed", "Speed and recall", () if figure is None else (figure,))
