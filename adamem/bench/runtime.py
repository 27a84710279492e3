"""An interpreter and an environment of a contestant's own: for a library, or a setting, that not everyone can share.

What such a contestant is (parameters, capabilities, the code that answers for its figures) is asked of its own
interpreter, once: there need be nothing of it in the one that runs the experiment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from adamem.bench.adapter import measuring_hash
from adamem.bench.config import ContestantConfig
from adamem.errors import ConfigError
from adamem.index import Capabilities, Index, Param

_SECONDS = 300.0
"""For a fresh interpreter to import one index: the first time, from a cold disk, that is a minute."""


@dataclass(frozen=True)
class Runtime:
    """Where a contestant's workers run, and what that interpreter says of its index."""

    python: str
    """The absolute path of the interpreter. A virtual environment is known by it: links are not followed."""
    given: str | None
    """As the config has it; None for the run's own interpreter with another environment."""
    environment: Mapping[str, str]
    version: str
    """Of Python there."""
    libraries: Mapping[str, str]
    """Those that bear on the figures, as that interpreter has them."""
    adapter: str
    """`adamem.bench.adapter.adapter_hash` there."""
    kind: type[Index]
    """A class with the declarations of the index: it builds nothing here."""

    def spec(self) -> dict[str, Any]:
        """What bears on the figures of this contestant beyond those of the others; part of its blocks' keys."""
        return {
            "environment": dict(self.environment),
            "interpreter": self.given,
            "python": self.version,
            "libraries": dict(self.libraries),
            "adapter": self.adapter,
        }


def runtime_of(one: ContestantConfig, *, source: str, where: str) -> Runtime | None:
    """The runtime of a contestant; None if it has the run's own.

    Raises
    ------
    ConfigError
        if there is no such interpreter, it has no adamem, one that measures otherwise, or not that index.
    """
    if one.python is None and not one.environment:
        return None
    python = sys.executable if one.python is None else os.path.abspath(Path(source).parent / one.python)  # noqa: PTH100 -- resolve() would leave the virtual environment
    label = f"{where}.python = {one.python!r}" if one.python is not None else f"{where}.environment"
    try:
        told = _ask(python, tuple(sorted(one.environment.items())), one.index)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error}") from error
    if "error" in told:
        raise ConfigError(f"{where}.index = {one.index!r}: in {python}: {told['error']}")
    if told["measuring"] != measuring_hash():
        raise ConfigError(
            f"{label}: the adamem of {python} measures by other code than this one ({told['adamem']}); install this "
            "very version there"
        )
    return Runtime(
        python=python,
        given=one.python,
        environment=dict(sorted(one.environment.items())),
        version=told["python"],
        libraries=told["libraries"],
        adapter=told["adapter"],
        kind=_declared(told["index"]),
    )


@cache
def _ask(python: str, environment: tuple[tuple[str, str], ...], index: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [python, "-P", "-m", "adamem.bench.declaration", index],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            env={**os.environ, **dict(environment)},
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {python}; expected the path of a Python interpreter, absolute or relative to "
            "the config's folder"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{python} could not be run ({error}); expected a Python interpreter") from error
    try:
        if done.returncode == 0:
            return cast("dict[str, Any]", json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        pass
    said = (done.stderr.strip() or done.stdout.strip() or f"it ended with status {done.returncode}").splitlines()[-1]
    raise ConfigError(
        f"{python} has no adamem that answers ({said[:200]}); expected a Python interpreter in which this "
        "version of adamem and the index's library are installed"
    )


def _declared(told: dict[str, Any]) -> type[Index]:
    """The declarations of an index as a class: what the plan, the gates and the records need of one."""
    capabilities = told["capabilities"]
    members = {
        "name": told["name"],
        "summary": told["summary"],
        "capabilities": Capabilities(**{**capabilities, "metrics": tuple(capabilities["metrics"])}),
        "build_params": tuple(_param(one) for one in told["build_params"]),
        "search_params": tuple(_param(one) for one in told["search_params"]),
    }
    return cast("type[Index]", type("DeclaredIndex", (), members))


def _param(told: dict[str, Any]) -> Param:
    return Param(**{**told, "choices": tuple(told["choices"]), "sweep": tuple(told["sweep"])})
