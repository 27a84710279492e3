"""A report as one self-contained page: figures inline, style inline, no script, nothing from the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from urllib.parse import quote

from adamem.report.document import Block, Bullets, Cell, Code, Document, Figure, Links, Paragraph, Section, Table
from adamem.report.figures.style import GRID, INK, MUTED, PAPER

_THEME = {INK: "var(--ink)", PAPER: "var(--paper)", MUTED: "var(--muted)", GRID: "var(--grid)"}
_INTERVAL = re.compile(r"\[[^\]]*\]|\S+ … \S+")


def render(document: Document, figures: Mapping[str, bytes]) -> bytes:
    """The page's bytes; `figures` are the drawn SVGs by name."""
    first, *rest = document.sections
    links = "".join(f'<li><a href="#{_key(s.key)}">{escape(s.title)}</a></li>' for s in rest)
    body = [
        f'<header><h1>{escape(document.title)}</h1><p class="subtitle">{escape(document.subtitle)}</p></header>',
        _section(first, figures),
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        *(_section(section, figures) for section in rest),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{_css()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )
    return page.encode()


def inline_svg(svg: bytes, figure: Figure) -> str:
    """A drawn figure as part of the page: named for screen readers, ids of its own, the page's ink and paper."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = f"{_key(figure.name)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    # The page is HTML: its parser knows both namespaces without being told.
    text = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(<svg\b[^>]*?) (?:width|height)="[^"]*pt"', r"\1", text)
    text = re.sub(r'(<svg\b[^>]*?) (?:width|height)="[^"]*pt"', r"\1", text)
    label = f'role="img" aria-label="{escape(figure.alt)}"'
    return text.replace("<svg ", f"<svg {label} ", 1).strip()


def _section(section: Section, figures: Mapping[str, bytes]) -> str:
    inner = "\n".join(_block(block, figures) for block in section.blocks)
    key = _key(section.key)
    title = f'<h2 id="{key}-title">{escape(section.title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-title">\n{title}\n{inner}\n</section>'


def _block(block: Block, figures: Mapping[str, bytes]) -> str:
    if isinstance(block, Paragraph):
        return f'<p class="{block.kind}">{escape(block.text)}</p>'
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Links):
        links = (f'<li><a href="{escape(quote(path))}.html">{escape(text)}</a></li>' for text, path in block.items)
        return f"<ul>{''.join(links)}</ul>"
    if isinstance(block, Code):
        return f'<pre tabindex="0"><code>{escape(block.text.rstrip())}</code></pre>'
    if isinstance(block, Figure):
        return (
            f'<figure id="figure-{_key(block.name)}">\n<h3>{escape(block.title)}</h3>\n'
            f'<div class="scroll" tabindex="0">{inline_svg(figures[block.name], block)}</div>\n'
            f'<figcaption>{escape(block.caption)} <a href="figures/{_key(block.name)}.csv">data</a></figcaption>\n'
            "</figure>"
        )
    if isinstance(block, Table):
        return _table(block)
    inner = "\n".join(_block(one, figures) for one in block.blocks)
    return f"<details>\n<summary>{escape(block.summary)}</summary>\n{inner}\n</details>"


def _table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col"{_class(column.number)}>{escape(column.label)}'
        + (f" <small>{escape(column.unit)}</small>" if column.unit else "")
        + "</th>"
        for column in table.columns
    )
    bodies = []
    for group in table.groups:
        rows = [_row(table, row) for row in group.rows]
        if group.label:
            span = len(table.columns)
            rows.insert(0, f'<tr class="group"><th scope="rowgroup" colspan="{span}">{escape(group.label)}</th></tr>')
        bodies.append("<tbody>" + "\n".join(rows) + "</tbody>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        '<div class="table">\n<div class="scroll" tabindex="0">\n<table>\n'
        f'<caption>{escape(table.caption)} <a href="tables/{_key(table.name)}.csv">data</a></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n{chr(10).join(bodies)}\n</table>\n</div>\n"
        + (f'<ul class="notes">{notes}</ul>\n' if notes else "")
        + "</div>"
    )


def _row(table: Table, row: tuple[Cell, ...]) -> str:
    cells = []
    for place, (column, cell) in enumerate(zip(table.columns, row, strict=True)):
        text = f"<strong>{escape(cell.text)}</strong>" if cell.best else escape(cell.text)
        if cell.detail:
            # A wide table breaks its lines between figures, never inside an interval.
            told = _INTERVAL.sub(lambda found: found[0].replace(" ", "\u00a0"), escape(cell.detail))
            text += f"<small>{told}</small>"
        tag = 'th scope="row"' if place == 0 else "td"
        cells.append(f"<{tag}{_class(column.number)}>{text}</{tag[:2]}>")
    return f"<tr>{''.join(cells)}</tr>"


def _class(number: bool) -> str:
    return ' class="number"' if number else ""


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


@cache
def _css() -> str:
    return files("adamem.report").joinpath("page.css").read_text(encoding="utf-8")
