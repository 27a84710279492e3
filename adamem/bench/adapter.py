"""Which code answers for a measured figure: that of the index and its neighbours, and that which measures it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path

from adamem.index import GROUP, index_class


@cache
def adapter_hash(index: str) -> str:
    """Hex SHA-256 over the source of the index's module and of the modules of its own package that it imports.

    A change elsewhere in the package leaves the results of this index valid. The name and version of the distribution
    that registers the index are in the hash too: a compiled part may hide behind them.
    """
    seen, _ = _sources(index)
    digest = hashlib.sha256(_distribution(index).encode())
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + seen[name] + b"\0")
    return digest.hexdigest()


@cache
def adapter_libraries(index: str) -> dict[str, str]:
    """The installed distributions that the index's own modules import, with their versions."""
    distributions = packages_distributions()
    _, foreign = _sources(index)
    names = {name for module in foreign for name in distributions.get(module, ())} - {"adamem"}
    return {name: version(name) for name in sorted(names)}


@cache
def measuring_hash() -> str:
    """Hex SHA-256 over our own code inside a measurement: the worker, the protocol's base, its checks."""
    names = [f"adamem.bench.{part}" for part in ("worker", "trial", "truth", "sweep", "measure")]
    names += [f"adamem.index.{part}" for part in ("base", "filter", "protocol", "validate")]
    digest = hashlib.sha256()
    for name in names:
        origin = _origin(name)
        assert origin is not None
        digest.update(name.encode() + b"\0" + origin.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(index: str) -> tuple[dict[str, bytes], set[str]]:
    """The modules of the index's package that it rests on, with their bytes, and the other packages they import."""
    module = index_class(index).__module__
    package = module.partition(".")[0]
    seen: dict[str, bytes] = {}
    foreign: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name.partition(".")[0] != package:
            foreign.add(name.partition(".")[0])
            continue
        origin = None if name in seen else _origin(name)
        if origin is None:
            continue
        seen[name] = origin.read_bytes()
        if origin.suffix == ".py":
            waiting.extend(_imports(seen[name], name, is_package=origin.name == "__init__.py"))
    return seen, foreign


def _distribution(index: str) -> str:
    for entry in entry_points(group=GROUP):
        if entry.name == index and entry.dist is not None and entry.dist.name != "adamem":
            return f"{entry.dist.name} {entry.dist.version}"
    return ""


def _origin(name: str) -> Path | None:
    """The file of a module: source or compiled; None if there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return Path(spec.origin)


def _imports(source: bytes, importer: str, *, is_package: bool) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            if node.level:
                # `from .x` counts from the package: a package's own __init__ is one level nearer than a module in it.
                up = node.level - 1 if is_package else node.level
                parents = importer.split(".")
                prefix = ".".join([*parents[: len(parents) - up], *([prefix] if prefix else [])])
            found.append(prefix)
            found.extend(f"{prefix}.{alias.name}" for alias in node.names)
    return found
