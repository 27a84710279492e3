"""reStructuredText without its mark-up: what a reader would read aloud."""

from __future__ import annotations

import re

_DOCTEST = re.compile(r"\s*(?:>>>|In \[\d+\]:)")
# The indented text of these is prose; other directives carry formulas, code, versions, lists of names.
_SPEAKING = ("note::", "warning::", "tip::", "important::", "caution::", "attention::", "hint::", "admonition::")
_OPTION = re.compile(r":[\w-]+:(?:\s+\S+)?")
_RULE_CHARACTERS = r"-=~^*#\"'+."

_LATEX = re.compile(r"\\[a-zA-Z]+")
_ROLE = re.compile(r":[\w:+.-]+:`+([^`]*)`+")
_LINK = re.compile(r"`([^`<]+?)\s*<[^>`]+>`_{0,2}")
_TITLED = re.compile(r"(.+?)\s*<[^<>]+>")
_CITATION = re.compile(r"(\[[\w.+-]+\])_")
_QUOTED = re.compile(r"`+([^`]*)`+_{0,2}")
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(?=\S)([^*\n]+?)(?<=\S)\*{1,2}(?![\w*])")
_URL = re.compile(r"<?https?://[^\s>]+>?")
_TABLE_RULE = re.compile(r"(?<!\S)[=+|-]{3,}(?!\S)")
# Sentences that stand alike in hundreds of docstrings and say nothing about their own.
_BOILERPLATE = re.compile(
    r"Read more in the [^.]*\."
    r"|Refer to [\w. ]* for (?:the )?full documentation\.?"
    r"|(?:For|See) [^.]*(?:full documentation|User Guide[^.]*)\.?"
    r"|Please see [\w. ]* for (?:more )?(?:details|information)\.?"
    r"|(?:Not used, p|P)resent (?:here )?(?:only )?for API consistency by convention\.?"
    r"|See glossary entry for [\w -]*\."
    r"|The documentation is written assuming array arguments are of specified .*? will raise a ValueError\."
    r"|As an instance of the \w+ class, .*? specific for this particular distribution\."
    # numpy's scalar types list their names on the machine at hand, which are not the same on the next.
    r"|:?(?:Character code|Canonical name|Alias on this platform[^:]*): *\S+"
)


def is_rule(line: str) -> bool:
    """Whether `line` is what underlines a heading: one sign, three times or more."""
    stripped = line.rstrip()
    return len(stripped) >= 3 and stripped[0] in _RULE_CHARACTERS and stripped == stripped[0] * len(stripped)


def speaking_lines(lines: list[str]) -> list[str]:
    """The lines without doctests, literal blocks, and directives that carry no prose."""
    kept: list[str] = []
    hidden_from: int | None = None  # what is indented deeper than this is hidden
    in_doctest = False
    for line in lines:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if hidden_from is not None:
            if not stripped or indent > hidden_from:
                continue
            hidden_from = None
        if in_doctest or _DOCTEST.match(line):
            in_doctest = bool(stripped)  # a doctest and its output end at the next blank line
        elif stripped.startswith(".. "):
            directive = stripped[3:]
            if directive.startswith(_SPEAKING):
                kept.append(" " * indent + directive.partition("::")[2].strip())
            else:
                hidden_from = indent
        elif stripped.endswith("::"):
            hidden_from = indent
            kept.append(line.rstrip().removesuffix(":"))
        elif not _OPTION.fullmatch(stripped):
            kept.append(line)
    return kept


def plain(text: str) -> str:
    """`text` on one line, without mark-up, LaTeX formulas, addresses and stock sentences."""
    text = _ROLE.sub(lambda role: _seen(role[0], role[1]), text)
    text = _LINK.sub(r"\1", text)
    text = _CITATION.sub(r"\1", text)
    text = _QUOTED.sub(lambda quoted: quoted[1].lstrip("~!").strip(), text)
    text = _EMPHASIS.sub(r"\1", text)
    text = _TABLE_RULE.sub("", _URL.sub("", text)).replace("\\", "")
    text = _BOILERPLATE.sub("", " ".join(text.split()))
    text = re.sub(r"\s+([.,;:!?)](?:\s|$))", r"\1", " ".join(text.split()))
    return text.strip()


def _seen(role: str, content: str) -> str:
    """What a reader sees of a role: a reference's title, the last part of ``~a.b.c``, a formula without LaTeX."""
    if role.startswith(":math:"):
        return "" if _LATEX.search(content) else content
    titled = _TITLED.fullmatch(content.strip())
    if titled:
        return titled[1]
    return content.rpartition(".")[2] if content.startswith("~") else content
