"""From a suite's data sets to its overview: which sections there are, in which order, and the plain sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adamem.report import wording
from adamem.report.document import Block, Bullets, Code, Details, Document, Links, Paragraph, Section
from adamem.report.figures import ratios, scaling
from adamem.report.overview import tables
from adamem.report.overview.members import Overview


def compose(overview: Overview) -> Document:
    """The whole overview. What nothing was measured for has no section."""
    suite, members = overview.suite, overview.members
    measured = f"{len(members)} of {len(suite.dataset)} data sets" if overview.missing else f"{len(members)} data sets"
    expected = Paragraph(f"Expected beforehand: {suite.expected}", "note") if suite.expected.strip() else None
    gone = missing(overview)
    warning = Paragraph(gone, "warning") if gone else None
    first = [Paragraph(answer(overview), "answer"), warning, tables.lead(overview) if members else None]
    sections = [
        _section("answer", "Who is fastest where?", first),
        _section("scaling", "How it grows", [scaling.data(overview) if overview.scaling else None]),
        _section("speed", "Speed", [ratios.speed(overview), expected, tables.speed(overview) if members else None]),
        _section("latency", "Latency of single queries", [tables.latency(overview) if members else None]),
        _section("costs", "What it costs", [ratios.prices(overview), tables.costs(overview) if members else None]),
        _section("members", "The data sets", [tables.members(overview), _links(overview)]),
        _section("method", "Method in short", [Bullets(tuple(_method(overview)))]),
        _section("recompute", "Recompute", _recompute(overview)),
    ]
    return Document(
        title=suite.title,
        subtitle=f"{measured}, {len(suite.contestant)} contestants; k = {overview.k}",
        sections=tuple(section for section in sections if section.blocks),
    )


def answer(overview: Overview) -> str:
    """At each target, on how many data sets each index is faster than every other one beyond the noise.

    Contestants of one index count together: with its vectors in memory or in a file, it is the same index that leads.
    """
    if not overview.members:
        return "Nothing has been measured yet."
    index_of = dict(overview.contestants)
    said = []
    for target in overview.targets:
        ahead: dict[str, list[tuple[str, str]]] = {}
        level, nobody, bounded = [], [], []
        for member in overview.members:
            lead = member.lead(target)
            if lead is None or not lead.best or lead.unranked:
                nobody.append(member.key)
            elif lead.other and lead.other_outcome == "ahead":
                ahead.setdefault(index_of[lead.best], []).append((member.key, lead.best))
                if lead.other_bound == "≤":
                    bounded.append(f"{member.key} ({lead.other})")
            else:
                level.append(f"{member.key} ({lead.best}{f' or {lead.other}' if lead.other else ' alone'})")
        parts = [
            f"{' or '.join(dict.fromkeys(name for _, name in found))} is ahead of every other index on {len(found)} of "
            f"{len(overview.members)} data sets ({wording.listed([key for key, _ in found])})"
            for found in sorted(ahead.values(), key=len, reverse=True)
        ]
        if bounded:
            parts.append(
                f"the next has points above that recall only, so the lead is a bound, on {wording.listed(bounded)}"
            )
        if level:
            parts.append(f"the first two are not told apart on {wording.listed(level)}")
        if nobody:
            parts.append(f"nobody can be named on {wording.listed(nobody)}")
        said.append(f"At recall@{overview.k} {target:g}: {'; '.join(parts)}.")
    return " ".join(said)


def missing(overview: Overview) -> str:
    """Which data sets are not in the overview and why, or measured otherwise than is asked for now."""
    said = [f"{key} ({why})" for key, why in overview.missing.items()]
    stale = [member.key for member in overview.members if member.stale]
    out = f"Not in here: {wording.listed(said)}." if said else ""
    if stale:
        out += f" Measured by an earlier config than the suite's present one: {wording.listed(stale)}."
    return out.strip()


def _links(overview: Overview) -> Links | None:
    if not overview.members:
        return None
    return Links(tuple((f"The report on {member.title}", f"{member.key}/report") for member in overview.members))


def _method(overview: Overview) -> list[str]:
    said = [
        "Every data set is a run of its own with its own report, which says how it was measured; every figure here is "
        "one of those reports' figures. Speeds are compared inside a run only: here stand ratios to the reference of "
        "that run.",
        "Builds and efforts were chosen for each data set on its calibration queries; the reference's build is the "
        "same on all.",
    ]
    for member in overview.members:
        made = member.run.dataset.provenance.get("made")
        if made:
            said.append(f"Not every vector of {member.title} is real: {made}.")
    return said


def _recompute(overview: Overview) -> list[Block | None]:
    name = overview.suite.name
    config = json.dumps(overview.config, indent=1, ensure_ascii=False, sort_keys=True)
    return [
        Paragraph(
            "This checks every data set's report against its raw files, and recomputes this overview from their tables:"
        ),
        Code(f"adamem verify reports/{name}"),
        Details("The resolved config", (Code(config),)),
    ]


def _section(key: str, title: str, blocks: Sequence[Block | None]) -> Section:
    return Section(key, title, tuple(block for block in blocks if block is not None))
