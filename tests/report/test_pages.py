"""The page and the Markdown: whole, safe, self-contained, and the same every time."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from adamem.errors import DataError
from adamem.report import render, write
from adamem.report.markdown import escape

VOID = {"meta", "br", "img", "link", "hr"}


class Page(HTMLParser):
    """Reads a page as a browser would, and notes what matters here."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.faults = [], [], [], [], []
        self.attributes = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, held))
        if "id" in held:
            self.ids.append(held["id"])
        for name in ("href", "xlink:href", "src"):
            if name in held:
                self.links.append(held[name])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append((tag, self.getpos()))


@pytest.fixture(scope="module")
def page(three):
    """The page of the handmade run, read."""
    return Page((three / "report.html").read_text())


def test_the_page_is_well_formed(page):
    """Every element is closed where it was opened, and no id stands twice, the figures' own included."""
    assert page.faults == []
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_needs_no_network_and_no_script(three, page):
    """Opened from disk with no network, the page is complete: it names no address and runs nothing."""
    text = (three / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert not [name for _, held in page.attributes for name in held if name.startswith("on")]


def test_every_link_leads_somewhere(three, page):
    """Links go to a heading of the page or to a file of the folder."""
    assert page.links
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (three / link).is_file(), link
    for place in re.findall(r"\((figures/[^)]+|tables/[^)]+)\)", (three / "report.md").read_text()):
        assert (three / place).is_file(), place


def test_names_from_data_are_escaped(three):
    """A contestant called `pq <b>&|*` and a script in an error message come out as text in both forms."""
    page, markdown = (three / "report.html").read_text(), (three / "report.md").read_text()
    assert "pq &lt;b&gt;&amp;|*" in page
    assert "pq <b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert r"pq &lt;b&gt;&amp;\|\*" in markdown
    assert "<script" not in markdown


def test_markdown_tables_are_rectangular(three):
    """Each row of a table has as many cells as its head, whatever the names in it."""
    width = None
    rows = 0
    for line in (three / "report.md").read_text().splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        if cells is not None:
            assert cells == (width or cells), line
            rows += 1
        width = cells
    assert rows > 40


def test_markdown_has_what_the_page_has(three, page):
    """The same headings, tables and figures stand in both."""
    markdown = (three / "report.md").read_text()
    text = (three / "report.html").read_text()
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert titles == re.findall(r"^## (.*)$", markdown, flags=re.MULTILINE)
    tables = re.findall(r'href="(tables/[^"]+)"', text)
    assert tables == re.findall(r"\[data\]\((tables/[^)]+)\)", markdown)
    assert len(tables) == page.tags.count("table")
    figures = re.findall(r'href="(figures/[^"]+)"', text)
    assert figures == re.findall(r"\[data\]\((figures/[^)]+)\)", markdown)


def test_a_screen_reader_is_served(page):
    """Each picture has a name in words, each table a caption, each heading cell a scope."""
    pictures = [held for tag, held in page.attributes if tag == "svg"]
    assert pictures
    assert all(held["role"] == "img" and len(held["aria-label"]) > 40 for held in pictures)
    assert page.tags.count("caption") == page.tags.count("table")
    assert all(held.get("scope") in ("col", "row", "rowgroup") for tag, held in page.attributes if tag == "th")


def test_rendering_twice_gives_the_same_bytes(handmade, contestants):
    """A run that is rendered, written and written again gives equal bytes each time, pictures too."""
    path = handmade.write({name: contestants[name] for name in ("exact", "hnsw")})
    first = render(path)
    write(path)
    drawn = {file.name: file.read_bytes() for file in path.glob("figures/*")}
    assert {name: (path / name).read_bytes() for name in first} == first
    write(path)
    assert {file.name: file.read_bytes() for file in path.glob("figures/*")} == drawn


def test_a_picture_that_was_altered_is_drawn_anew(handmade, contestants):
    """The page takes a stored picture only if the manifest vouches for it; otherwise it draws its own."""
    path = handmade.write({name: contestants[name] for name in ("exact", "hnsw")})
    write(path)
    page = (path / "report.html").read_bytes()
    picture = path / "figures" / "pareto.svg"
    picture.write_bytes(picture.read_bytes().replace(b"#0072b2", b"#ff0000"))
    assert render(path)["report.html"] == page


def test_the_manifest_lists_every_file_with_its_hash(three):
    """Whoever has the manifest can tell whether a file of the report is the one that was written."""
    listed = json.loads((three / "report-manifest.json").read_text())
    there = [*three.glob("figures/*"), *three.glob("tables/*"), three / "report.md", three / "report.html"]
    assert set(listed) == {str(file.relative_to(three)) for file in there}
    for name, entry in listed.items():
        content = (three / name).read_bytes()
        assert entry == {"sha256": sha256(content).hexdigest(), "bytes": len(content)}, name


def test_what_a_former_report_left_is_removed(handmade, contestants):
    """A table that the new report does not have must not lie there as if it were current; what is not ours stays."""
    path = handmade.write({"exact": contestants["exact"]})
    write(path)
    for name in ("stale", "mine"):
        (path / "tables" / f"{name}.csv").write_text("old\n")
    manifest = path / "report-manifest.json"
    listed = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**listed, "tables/stale.csv": {"sha256": "", "bytes": 4}, "../run.json": {}}))
    write(path)
    assert not (path / "tables" / "stale.csv").exists()
    assert (path / "tables" / "mine.csv").exists()
    assert (path / "run.json").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    """The error names the folder and what to give instead."""
    with pytest.raises(DataError, match="holds no run"):
        write(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("1. not a list", r"1\. not a list"),
        ("- nor this", r"\- nor this"),
        ("two\nlines", "two lines"),
        ("ef_construction=200", r"ef\_construction=200"),
    ],
)
def test_markdown_shows_text_as_it_is(text, expected):
    """Nothing in a text is taken for markup."""
    assert escape(text) == expected
