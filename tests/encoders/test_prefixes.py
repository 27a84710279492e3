"""Which prefixes a model gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adamem.encoders.prefixes import Prefixes, find_prefixes

NONE = Prefixes("", "")
E5 = Prefixes("query: ", "passage: ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/multilingual-e5-base", E5),
        ("intfloat/e5-small-v2", E5),
        ("someone/my_e5_tuned", E5),
        ("someone/base5-large", NONE),
        ("someone/1e5f", NONE),
        ("e5-lovers/plain-model", NONE),
        ("sentence-transformers/all-MiniLM-L6-v2", NONE),
        ("BAAI/bge-base-en-v1.5", Prefixes("Represent this sentence for searching relevant passages: ", "")),
        ("BAAI/bge-m3", NONE),
        ("nomic-ai/nomic-embed-text-v1.5", Prefixes("search_query: ", "search_document: ")),
    ],
)
def test_a_family_is_known_by_the_models_name(name: str, expected: Prefixes, tmp_path: Path):
    """The owner's name does not count, nor does an "e5" inside a word."""
    assert find_prefixes(tmp_path, name) == expected


def test_an_e5_that_takes_instructions_prefixes_only_queries(tmp_path: Path):
    """As its model card says."""
    prefixes = find_prefixes(tmp_path, "intfloat/multilingual-e5-large-instruct")
    assert prefixes.query.startswith("Instruct: ")
    assert prefixes.query.endswith("\nQuery: ")
    assert prefixes.document == ""


def test_a_folder_of_the_hubs_cache_is_known_by_its_models_name():
    """Its own name there is a commit's hash."""
    folder = Path("/cache/models--intfloat--e5-base/snapshots/0123abcd")
    assert find_prefixes(folder, folder.name) == E5


def test_a_tuned_copy_is_known_by_the_name_in_its_config(tmp_path: Path):
    """Older versions of transformers wrote there what a model was tuned from."""
    (tmp_path / "config.json").write_text(json.dumps({"_name_or_path": "intfloat/e5-base"}))
    assert find_prefixes(tmp_path, "my-model") == E5


def test_a_default_prompt_serves_the_verb_that_has_none(tmp_path: Path):
    """So sentence-transformers does it, too."""
    settings = {"prompts": {"query": "Q ", "general": "G "}, "default_prompt_name": "general"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert find_prefixes(tmp_path, "x") == Prefixes("Q ", "G ")
