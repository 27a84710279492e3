"""Sections that reports of runs made of pieces share."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adamem.report.document import Code, Details
from adamem.report.pieces import recompute

LINE = "adamem run experiments/small.toml"


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"launch": LINE}, LINE),
        ({"launch": LINE, "size": "default"}, LINE),
        ({"launch": LINE, "size": "full"}, f"{LINE} --full"),
        ({"launch": f"{LINE} --quick", "size": "quick"}, f"{LINE} --quick"),
        ({"size": "full"}, ""),
    ],
)
def test_what_is_told_makes_and_verifies_this_very_run(config, line):
    """Wherever the report lies, and in the size that it is of, though a file's line names none."""
    told = recompute(SimpleNamespace(name="small-full", config=config)).blocks
    commands = [block.text for block in told if isinstance(block, Code)]
    assert commands == ["adamem verify .", *([line] if line else [])]
    (resolved,) = [inner.text for block in told if isinstance(block, Details) for inner in block.blocks]
    assert f'"launch": "{line}"' in resolved
