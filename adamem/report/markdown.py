"""A report as Markdown: the same content as the page, tables as pipes, figures as linked PNG."""

from __future__ import annotations

import re
from urllib.parse import quote

from adamem.report.document import Block, Bullets, Cell, Code, Document, Figure, Links, Paragraph, Table

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_LEADING = re.compile(r"^(\d*)([#+.-])(?=\s)")


def render(document: Document) -> bytes:
    """The file's bytes."""
    out = [f"# {escape(document.title)}", escape(document.subtitle)]
    for section in document.sections:
        out.append(f"## {escape(section.title)}")
        for block in section.blocks:
            out.extend(_block(block))
    return ("\n\n".join(part for part in out if part) + "\n").encode()


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = _SPECIAL.sub(r"\\\1", flat)
    return _LEADING.sub(r"\1\\\2", flat)


def _block(block: Block) -> list[str]:
    if isinstance(block, Paragraph):
        text = escape(block.text)
        return [f"**{text}**" if block.kind == "answer" else f"> {text}" if block.kind == "warning" else text]
    if isinstance(block, Bullets):
        return ["\n".join(f"* {escape(item)}" for item in block.items)]
    if isinstance(block, Links):
        return ["\n".join(f"* [{escape(text)}]({quote(path)}.md)" for text, path in block.items)]
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", block.text)), default=0))
        return [f"{fence}text\n{block.text.rstrip()}\n{fence}"]
    if isinstance(block, Figure):
        alt = escape(block.alt)
        return [
            f"### {escape(block.title)}",
            f"![{alt}](figures/{block.name}.png)",
            f"{escape(block.caption)} ([data](figures/{block.name}.csv))",
        ]
    if isinstance(block, Table):
        return _table(block)
    return [f"### {escape(block.summary)}", *(part for inner in block.blocks for part in _block(inner))]


def _table(table: Table) -> list[str]:
    heads = [f"{escape(c.label)} ({escape(c.unit)})" if c.unit else escape(c.label) for c in table.columns]
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---:' if c.number else '---' for c in table.columns)}|"]
    for group in table.groups:
        if group.label:
            lines.append(f"| **{escape(group.label)}** |{' |' * (len(table.columns) - 1)}")
        lines.extend(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in group.rows)
    notes = "\n".join(f"* {escape(note)}" for note in table.notes)
    return [f"**{escape(table.caption)}** ([data](tables/{table.name}.csv))", "\n".join(lines), notes]


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    text = f"**{text}**" if cell.best and text else text
    return f"{text}<br>{escape(cell.detail)}" if cell.detail else text
