"""Which code answers for a measured figure: the hash of an index's module and of its neighbours that it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from adamem.index import index_class


@cache
def adapter_hash(index: str) -> str:
    """Hex SHA-256 over the source of the index's module and of the modules of its own package that it imports.

    A change elsewhere in the package leaves the results of this index valid.
    """
    module = index_class(index).__module__
    package = module.partition(".")[0]
    seen: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] != package:
            continue
        source = _source(name)
        if source is None:
            continue
        seen[name] = source
        waiting.extend(_imports(source, name))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + seen[name] + b"\0")
    return digest.hexdigest()


def _source(name: str) -> bytes | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin).read_bytes()


def _imports(source: bytes, importer: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ""
            if node.level:
                prefix = ".".join([*importer.split(".")[: -node.level], *([prefix] if prefix else [])])
            found.append(prefix)
            found.extend(f"{prefix}.{alias.name}" for alias in node.names)
    return found
