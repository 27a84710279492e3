"""From a run to its report: which sections there are, in which order."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adamem.report import answer, wording
from adamem.report.comparison import Comparison
from adamem.report.document import Block, Bullets, Code, Details, Document, Paragraph, Section
from adamem.report.figures import cost, effort, hardness, latency, pareto, task
from adamem.report.loaded import Loaded
from adamem.report.method import method
from adamem.report.tables import context, costs, points, quality
from adamem.report.tables.counted import counted
from adamem.report.tables.duels import duels
from adamem.report.tables.headline import headline
from adamem.report.tables.lead import lead
from adamem.report.tables.targets import at_recall, one_query
from adamem.report.tables.task import task as task_table


def compose(comparison: Comparison) -> Document:
    """The whole report of a run. What was not measured, or does not apply, has no section."""
    loaded = comparison.loaded
    data = loaded.run.dataset
    sections = [
        _first(comparison),
        _speed(comparison),
        # A suite's overview rests on its data sets' tables: these hold what no other says.
        _section(
            "lead", "The fastest", *((lead(comparison), duels(comparison)) if loaded.run.study == "suite" else ())
        ),
        _latency(comparison),
        _cost(comparison),
        _section("counted", "Counted cost", counted(comparison) if comparison.entries else None),
        _quality(comparison),
        _section("task", "Task quality", task_table(loaded), task.data(comparison)),
        _section("defaults", "Without tuning", points.default_points(loaded)),
        _tuning(loaded),
        _section("excluded", "Failed and invalid", context.excluded(loaded)),
        _section("data", "Data", context.dataset(loaded)),
        _machine(loaded),
        Section("method", "Method in short", (Bullets(tuple(method(loaded))),)),
        _everything(loaded),
    ]
    return Document(
        title=loaded.run.title,
        subtitle=f"{data.name}: {data.n:,} vectors of {data.dim} dimensions, {data.metric}; "
        f"{data.queries.test:,} test queries; k = {loaded.k}",
        sections=tuple(section for section in sections if section.blocks),
    )


def _first(comparison: Comparison) -> Section:
    sentences = (answer.exact_sentence(comparison), answer.doubt(comparison), answer.caveat(comparison))
    blocks: list[Block] = [
        Paragraph(answer.answer(comparison), "answer"),
        Paragraph(" ".join(said for said in sentences if said)),
    ]
    if comparison.entries:
        blocks.append(headline(comparison))
    return Section("answer", "Which index should I use here?", tuple(blocks))


def _speed(comparison: Comparison) -> Section:
    expected = str(comparison.loaded.run.config.get("expected", ""))
    if not comparison.entries:
        return _section("speed", "Speed and recall")
    return _section(
        "speed",
        "Speed and recall",
        pareto.data(comparison),
        Paragraph(f"Expected beforehand: {expected}", "note") if expected else None,
        at_recall(comparison),
        effort.data(comparison),
    )


def _latency(comparison: Comparison) -> Section:
    table = one_query(comparison) if comparison.entries else None
    return _section("latency", "Latency of single queries", latency.data(comparison), table)


def _cost(comparison: Comparison) -> Section:
    return _section("cost", "Build time and memory", cost.data(comparison), costs.start(comparison.loaded))


def _quality(comparison: Comparison) -> Section:
    loaded = comparison.loaded
    return _section(
        "quality",
        "Quality of the answers",
        hardness.data(comparison),
        quality.tails(loaded),
        quality.recall_at(loaded),
        quality.other_k(loaded),
    )


def _tuning(loaded: Loaded) -> Section:
    targets = wording.listed([f"{target:g}" for target in loaded.targets])
    text = (
        f"Every contestant's grid was swept once on the {loaded.run.dataset.queries.calibration:,} calibration "
        "queries; stage 2 "
        f"measured at most {loaded.run.config['measure']['front_builds']} builds of each, those best at recall "
        f"{targets}. How many "
        "builds each was given stands below; all were given the same number of steps to close in on each target. No "
        "figure above comes from the calibration queries."
    )
    skipped = loaded.run.skipped
    return _section(
        "tuning",
        "Tuning effort",
        Paragraph(text),
        context.sweep(loaded),
        Paragraph("Left out:") if skipped else None,
        Bullets(tuple(skipped)) if skipped else None,
    )


def _machine(loaded: Loaded) -> Section:
    run = loaded.run
    spent = ", ".join(f"{stage} {wording.duration(seconds)}" for stage, seconds in run.wall_seconds.items())
    noted = sorted({note for block in loaded.blocks for note in block.fitness.notes})
    spoilt = sum(bool(block.fitness.notes) for block in loaded.blocks)
    warning = None
    if noted:
        warning = Paragraph(
            f"{spoilt} of {len(loaded.blocks)} blocks were disturbed, which spoils every table and figure with times "
            "in it: "
            f"{'; '.join(noted)}.",
            "warning",
        )
    ended = f"finished {run.finished}" if run.finished else "not finished"
    when = f"Begun {run.started}, {ended}. Wall time: {spent or 'none yet'}."
    return _section(
        "machine",
        "Machine",
        warning,
        Paragraph(when),
        context.fitness(loaded),
        Details("Machine and libraries", (context.machine(loaded),)),
    )


def _everything(loaded: Loaded) -> Section:
    run = loaded.run
    table = points.all_points(loaded)
    config = json.dumps(run.config, indent=1, ensure_ascii=False)
    blocks: list[Block] = [
        Paragraph(
            "Every table and figure of this report follows from the raw files in its folder. This recomputes them "
            "all, without "
            "the data set; with --deep, distances and true neighbours too:"
        ),
        Code(f"adamem verify reports/{run.name}"),
    ]
    if table is not None:
        blocks.append(Details("Every measured point", (table,)))
    blocks.append(Details("The resolved config", (Code(config),)))
    return Section("recompute", "Recompute", tuple(blocks))


def _section(key: str, title: str, *blocks: Block | None) -> Section:
    kept: Sequence[Block] = [block for block in blocks if block is not None]
    return Section(key, title, tuple(kept))
