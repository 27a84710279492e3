"""What a model wants written before a query or a document: models of the E5 kind are trained with such prefixes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple


class Prefixes(NamedTuple):
    """Written before each text, verbatim."""

    query: str
    document: str


class _Family(NamedTuple):
    pattern: re.Pattern[str]
    prefixes: Prefixes


# The first that matches wins. Each as its model card says; models that ship their own prompts need no line here.
_FAMILIES = (
    _Family(
        # The bound on both sides keeps "e5" out of words and hashes.
        re.compile(r"(?<![a-z0-9])e5(?![a-z0-9]).*instruct"),
        Prefixes(
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
            "",
        ),
    ),
    _Family(re.compile(r"(?<![a-z0-9])e5(?![a-z0-9])"), Prefixes("query: ", "passage: ")),
    _Family(
        re.compile(r"bge-(small|base|large)-en"),
        Prefixes("Represent this sentence for searching relevant passages: ", ""),
    ),
    _Family(re.compile(r"bge-(small|base|large)-zh"), Prefixes("为这个句子生成表示以用于检索相关文章：", "")),
    _Family(re.compile(r"nomic-embed-text"), Prefixes("search_query: ", "search_document: ")),
)

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""The names under which sentence-transformers looks for a document's prompt, in its order."""


def find_prefixes(folder: Path, name: str) -> Prefixes:
    """The prefixes of the model in `folder`, known as `name`.

    A model's own prompts (config_sentence_transformers.json) come first; else the family that its name, the folder's
    name or the name in its config.json belongs to; else none.
    """
    own = _own_prompts(_read_json(folder / "config_sentence_transformers.json"))
    if own is not None:
        return own
    # A hub's cache keeps a model in models--owner--name/snapshots/<hash>: the folder's own name says nothing there.
    cached = [part.removeprefix("models--") for part in folder.parts if part.startswith("models--")]
    known_as = str(_read_json(folder / "config.json").get("_name_or_path", "")).rstrip("/").rpartition("/")[2]
    for candidate in (name.rstrip("/").rpartition("/")[2], folder.name, *cached, known_as):
        for family in _FAMILIES:
            if family.pattern.search(candidate.lower()):
                return family.prefixes
    return Prefixes("", "")


def _own_prompts(settings: dict[str, Any]) -> Prefixes | None:
    prompts = settings.get("prompts") or {}
    fallback = prompts.get(settings.get("default_prompt_name"), "")
    query = prompts.get("query", fallback)
    document = next((prompts[key] for key in _DOCUMENT_PROMPTS if key in prompts), fallback)
    return Prefixes(query, document) if query or document else None


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing or is no object: the loader will say what is wrong with it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
