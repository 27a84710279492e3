"""The collection ``pydocs``: the docstrings of numpy, scipy and scikit-learn as a retrieval task.

A document is what a docstring says after its summary, cut at 64 tokens; a query is a summary; relevant is the body that
belongs to it. The texts are whatever the installed versions say, so the collection is pinned by pinning those three
packages; nothing is downloaded. They are under the packages' own BSD 3-clause licences.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from adamem.data.docstrings import prose

PACKAGES = ("numpy", "scipy", "sklearn")
MAX_DOCUMENTS = 6_000
MAX_TOKENS = 64
"""A token is a run of letters, digits and underscores, or one other sign."""
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MIN_BODY_WORDS = 10
_MIN_SUMMARY_WORDS = 2

# Tests, vendored code, scripts, what needs packages that may be absent, and numpy.core: old names of private things.
_SKIPPED_PARTS = frozenset({"tests", "conftest", "core", "setup", "externals", "f2py", "distutils", "mypy_plugin"})
# Generated for every estimator from one template.
_TEMPLATED = ("set_fit_request", "set_score_request", "get_metadata_routing")


class PyDocs(NamedTuple):
    """The collection; each list in the order of the ids."""

    documents: list[tuple[str, str]]
    """(qualified name, text); no two texts are equal."""
    queries: list[tuple[str, str]]
    """(qualified name, text); no two texts are equal."""
    qrels: list[tuple[str, str]]
    """(query's id, document's id): relevant. A summary that several bodies share has them all."""


def pydocs() -> PyDocs:
    """Read the docstrings of the public modules, classes, functions, methods and properties of the three packages.

    The same versions give the same bytes in the same order. An object that is found under several names bears the one
    with the fewest dots, the first in the alphabet among those.
    """
    documents: dict[str, str] = {}  # text -> id
    queries: dict[str, str] = {}  # text -> id
    qrels: dict[tuple[str, str], None] = {}
    for name, docstring in _docstrings():
        summary, body = prose(docstring)
        text = _cut(body)
        if len(text.split()) < _MIN_BODY_WORDS or len(summary.split()) < _MIN_SUMMARY_WORDS:
            continue
        if text not in documents and len(documents) == MAX_DOCUMENTS:
            continue
        qrels[queries.setdefault(summary, name), documents.setdefault(text, name)] = None
    return PyDocs(
        documents=sorted((name, text) for text, name in documents.items()),
        queries=sorted((name, text) for text, name in queries.items()),
        qrels=sorted(qrels),
    )


def _cut(text: str) -> str:
    """The first `MAX_TOKENS` tokens of `text`."""
    ends = [token.end() for token in islice(_TOKEN.finditer(text), MAX_TOKENS)]
    return text[: ends[-1]] if ends else ""


def pydocs_versions() -> dict[str, str]:
    """The versions that the collection was read from, by distribution."""
    return {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}


def _docstrings() -> Iterator[tuple[str, str]]:
    """(qualified name, docstring), each object once."""
    seen: dict[int, object] = {}  # by identity; holding the object keeps its identity from being given away
    with warnings.catch_warnings():
        # Importing what is deprecated warns; the texts are wanted nevertheless.
        warnings.simplefilter("ignore")
        # All are imported before the first is read: some (sklearn.experimental) add names to others.
        for module in _modules():
            if module.__doc__:
                yield module.__name__, module.__doc__
            for name, member in _public_members(module):
                if id(member) not in seen:
                    seen[id(member)] = member
                    yield from _docstrings_of(f"{module.__name__}.{name}", member)


def _modules() -> list[ModuleType]:
    modules = []
    for name in _module_names():
        # What cannot be imported needs a package that the three hold to be optional.
        with contextlib.suppress(ImportError):
            modules.append(importlib.import_module(name))
    return modules


def _module_names() -> list[str]:
    """The public modules of the three packages, those with the fewest dots first, then by name."""
    names: set[str] = set()
    for package in PACKAGES:
        root = Path(inspect.getfile(importlib.import_module(package))).parent
        for file in root.rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") or part in _SKIPPED_PARTS for part in parts):
                names.add(".".join((package, *parts)))
    return sorted(names, key=lambda name: (name.count("."), name))


def _public_members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """(name, object) of what `module` offers, sorted: its ``__all__``, else what is defined in it or below it."""
    offered = getattr(module, "__all__", None)
    for name in sorted(dir(module) if offered is None else offered):
        if name.startswith("_"):
            continue
        try:
            member = getattr(module, name)
        except (AttributeError, ImportError):  # promised in __all__, and kept behind a switch or a package
            continue
        home = getattr(member, "__module__", None) or module.__name__
        wanted = PACKAGES if offered is not None else (module.__name__,)
        if callable(member) and isinstance(home, str) and any(f"{home}.".startswith(f"{part}.") for part in wanted):
            yield name, member


def _docstrings_of(name: str, member: object) -> Iterator[tuple[str, str]]:
    """The docstring of an object, and of what a class itself defines under names without an underscore."""
    docstring = _own_docstring(member)
    if docstring:
        yield name, docstring
    if inspect.isclass(member):
        for attribute, value in sorted(vars(member).items()):
            if attribute.startswith("_") or attribute in _TEMPLATED:
                continue
            docstring = _own_docstring(getattr(value, "__func__", value))
            if docstring:
                yield f"{name}.{attribute}", docstring


def _own_docstring(member: object) -> str | None:
    """What `member` itself says; a constant, or an instance, that only repeats its class's docstring says nothing."""
    docstring = getattr(member, "__doc__", None)
    if not isinstance(docstring, str) or (not inspect.isclass(member) and docstring == type(member).__doc__):
        return None
    return docstring
