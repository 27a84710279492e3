"""Writes docs/api.md, the memory engine's API, from its docstrings: `make docs`, or `python docs/make_api.py`.

The sources are read by griffe (https://mkdocstrings.github.io/griffe/). What is particular to this page is how it reads
on a code host: one heading a verb, signatures as code, names as links.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import griffe

import adamem.memory
from adamem.files import atomic_write

PAGE = Path(__file__).with_name("api.md")
_WIDTH = 100
_FIRST = ("MemoryEngine", "NewMemory")
_LAST = ("AsyncMemoryEngine", "Json", "DEFAULT_NAMESPACE")
_NAME = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")
_LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
# What stands as it is: a table, and what is indented after "::".
_AS_IT_IS = re.compile(r"^=+  =+\n(?:.*\n)+?=+  =+$|^::\n(?:(?:    .*)?\n)+", re.MULTILINE)
_HEAD = """\
# The memory engine: API

Made from the docstrings by `make docs`; [concepts](memory.md) and [recipes](recipes.md) are elsewhere.
All of it is in `adamem.memory`, encoders are in `adamem.encoders` and errors in `adamem.errors`; `MemoryEngine`,
`AsyncMemoryEngine`, `NewMemory`, `Memory`, `Hit`, `open_encoder` and `Encoder` are in `adamem` as well.
"""


def page() -> str:
    """The whole page."""
    memory, encoders, errors = (griffe.load(f"adamem.{name}") for name in ("memory", "encoders", "errors"))
    names = [*_FIRST, *sorted(set(adamem.memory.__all__) - {*_FIRST, *_LAST}), *_LAST]
    shown = [(name, _target(memory[name])) for name in names]
    shown += [(name, _target(encoders[name])) for name in sorted({"Encoder", "open_encoder"})]
    anchors = {name: name.lower() for name, _ in shown}
    for name, one in shown:
        if isinstance(one, griffe.Class):
            anchors |= {f"{name}.{verb.name}": f"{name}{verb.name}".lower() for verb in _verbs(one)}
    anchors |= {"adamem.memory.conditions": "conditions"} | dict.fromkeys(errors.classes, "errors")
    lines = [_HEAD, *_contents(shown)]
    for name, one in shown:
        lines += _member(name, one, _linked(anchors, name))
    lines += ["", "## Conditions", "", _prose(_said(memory["conditions"]), _linked(anchors, "MemoryEngine"))]
    lines += ["", "## Errors", "", _prose(_said(errors), _linked(anchors, "MemoryEngine"))]
    return "\n".join(lines) + "\n"


def _contents(shown: list[tuple[str, griffe.Object]]) -> Iterator[str]:
    for name, one in shown:
        verbs = _verbs(one) if isinstance(one, griffe.Class) else []
        listed = ", ".join(f"[{verb.name}](#{name.lower()}{verb.name})" for verb in verbs)
        yield f"- [{name}](#{name.lower()})" + (f": {listed}" if listed else "")
    yield "- [Conditions](#conditions)"
    yield "- [Errors](#errors)"


def _member(name: str, one: griffe.Object, link: Callable[[str], str]) -> Iterator[str]:
    yield from ("", f"## {name}")
    if isinstance(one, griffe.Class):
        made = one.members.get("__init__")
        # What the engine gives back nobody makes, and its attributes follow.
        if isinstance(made, griffe.Function) and ("dataclass" not in one.labels or _is_made_by_names(made)):
            yield from _signature(name, made)
        yield from _docstring(one, link)
        yield from _fields(one, link)
        twins = [m.name for m in one.members.values() if str(getattr(m, "value", "")).startswith("_awaited(")]
        if twins:
            verbs = ", ".join(link(f"MemoryEngine.{twin}").replace("`MemoryEngine.", "`") for twin in twins)
            yield from ("", f"Awaited, and else those of `MemoryEngine`: {verbs}.")
        for verb in _verbs(one):
            yield from ("", f"### {name}.{verb.name}")
            if "property" not in verb.labels:
                yield from _signature(verb.name, verb)
            yield from _docstring(verb, link)
    elif isinstance(one, griffe.Function):
        yield from _signature(name, one)
        yield from _docstring(one, link)
    else:
        value = one.value if isinstance(one, griffe.Attribute) else ""
        # A type that names itself is written as a string.
        yield from (
            "",
            "```python",
            f"{name} = {str(value).strip(chr(39)) if ' | ' in str(value) else _quoted(value)}",
            "```",
        )
        yield from _docstring(one, link)


def _fields(one: griffe.Class, link: Callable[[str], str]) -> Iterator[str]:
    """A record's attributes, in their order."""
    listed = [
        m
        for m in one.members.values()
        if isinstance(m, griffe.Attribute) and m.annotation and m.is_public and "property" not in m.labels
    ]
    if listed:
        yield from ("", "Attributes:", "")
    for m in listed:
        default = "" if m.value is None or str(m.value).startswith("field(") else f" = {_quoted(m.value)}"
        yield _item(m.name, f"{m.annotation}{default}", _said(m), link)


def _signature(name: str, one: griffe.Function) -> Iterator[str]:
    given: list[str] = []
    is_keyword = False
    for parameter in one.parameters:
        if parameter.name in ("self", "cls"):
            continue
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(
            parameter.kind.value if parameter.kind else "", ""
        )
        if parameter.kind is griffe.ParameterKind.keyword_only and not is_keyword:
            is_keyword = True
            given.append("*")
        typed = f": {parameter.annotation}" if parameter.annotation is not None else ""
        equals = " = " if typed else "="
        default = f"{equals}{_default(one, parameter.default)}" if parameter.default is not None and not stars else ""
        given.append(f"{stars}{parameter.name}{typed}{default}")
    returns = "" if one.returns is None or one.name == "__init__" else f" -> {one.returns}"
    flat = _quoted(f"{name}({', '.join(given)}){returns}")
    if len(flat) > _WIDTH:
        inner = "".join(f"    {one_given},\n" for one_given in given)
        flat = _quoted(f"{name}(\n{inner}){returns}")
    yield from ("", "```python", flat, "```")


def _docstring(one: griffe.Object, link: Callable[[str], str]) -> Iterator[str]:
    for section in one.docstring.parse("numpy") if one.docstring is not None else []:
        if section.kind is griffe.DocstringSectionKind.text:
            yield from ("", _prose(section.value, link))
        elif section.kind in (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.raises):
            is_raises = section.kind is griffe.DocstringSectionKind.raises
            yield from ("", "Raises:" if is_raises else "Parameters:", "")
            for item in section.value:
                yield _item(str(item.annotation) if is_raises else item.name, "", item.description, link)
        else:
            raise SystemExit(f"{one.path} has a section {section.kind.value!r}, which this page does not know yet")


def _item(name: str, kind: str, said: str, link: Callable[[str], str]) -> str:
    head = ", ".join(f"**{one.strip()}**" for one in name.strip("()").split(","))
    kind = f" (`{kind}`)" if kind else ""
    return f"- {head}{kind}" + (": " + re.sub(r"\n(?=.)", "\n  ", _prose(said, link)) if said else "")


def _prose(text: str, link: Callable[[str], str]) -> str:
    """A docstring's text as Markdown, each paragraph on one line."""
    parts: list[str] = []
    last = 0
    for block in _AS_IT_IS.finditer(text):
        shown = textwrap.dedent(block.group().removeprefix("::\n")).strip()
        parts += [_paragraphs(text[last : block.start()], link), f"```text\n{shown}\n```"]
        last = block.end()
    return "\n\n".join(part for part in [*parts, _paragraphs(text[last:], link)] if part)


def _paragraphs(text: str, link: Callable[[str], str]) -> str:
    made = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines: list[str] = []
        for line in paragraph.splitlines():
            if line.startswith("* ") or not lines:
                lines.append(line.strip())
            else:
                lines[-1] += f" {line.strip()}"
        made.append("\n".join(_LITERAL.sub(r"`\1`", _NAME.sub(lambda m: link(m[1]), line)) for line in lines))
    return "\n\n".join(made)


def _linked(anchors: dict[str, str], here: str) -> Callable[[str], str]:
    def link(name: str) -> str:
        for known in (f"{here}.{name}", name, f"MemoryEngine.{name}"):
            if known in anchors and known != here:
                return f"[`{name}`](#{anchors[known]})"
        return f"`{name}`"

    return link


def _is_made_by_names(made: griffe.Function) -> bool:
    return any(one.kind is griffe.ParameterKind.keyword_only for one in made.parameters)


def _default(one: griffe.Function, value: object) -> str:
    """A default as a caller would write it, who knows no private name."""
    named = one.module.members.get(str(value)) if str(value).startswith("_") else None
    return str(named.value if isinstance(named, griffe.Attribute) else value)


def _quoted(code: object) -> str:
    return re.sub(r"'([^'\"]*)'", r'"\1"', str(code))


def _verbs(one: griffe.Class) -> list[griffe.Function | griffe.Attribute]:
    """Its public methods and properties, in their order."""
    return [
        m
        for m in one.members.values()
        if not m.name.startswith("_") and (isinstance(m, griffe.Function) or "property" in m.labels)
    ]


def _target(one: griffe.Object | griffe.Alias) -> griffe.Object:
    return one.final_target if isinstance(one, griffe.Alias) else one


def _said(one: griffe.Object | griffe.Alias) -> str:
    return "" if one.docstring is None else one.docstring.value


if __name__ == "__main__":
    with atomic_write(PAGE) as out:
        out.write(page().encode())
    sys.stdout.write(f"{PAGE.name} is what the docstrings say\n")
