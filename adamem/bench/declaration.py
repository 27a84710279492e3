"""What one index is, said by the interpreter that has it: ``python -m adamem.bench.declaration NAME``.

Prints one line of JSON: the class's declarations, the hashes of the code that answers for its figures, and the versions
of the libraries that bear on them; or ``error``, a sentence. `adamem.bench.runtime` asks.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from typing import Any

from adamem import __version__
from adamem.bench.adapter import adapter_hash, adapter_libraries, measuring_hash
from adamem.bench.machine import library_versions
from adamem.errors import UserError
from adamem.index import index_class


def main() -> None:
    """Answer for the index that the command line names."""
    # Libraries greet on file descriptor 1 when they are loaded: the answer must stand alone there.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write(json.dumps(declaration(sys.argv[1])) + "\n")
    answers.close()


def declaration(index: str) -> dict[str, Any]:
    """The answer, as JSON will have it."""
    try:
        kind = index_class(index)
    except UserError as error:
        return {"error": str(error)}
    return {
        "adamem": __version__,
        "python": platform.python_version(),
        "measuring": measuring_hash(),
        "adapter": adapter_hash(index),
        "libraries": {**library_versions(), **adapter_libraries(index)},
        "index": {
            "name": kind.name,
            "summary": kind.summary,
            "capabilities": asdict(kind.capabilities),
            "build_params": [asdict(param) for param in kind.build_params],
            "search_params": [asdict(param) for param in kind.search_params],
        },
    }


if __name__ == "__main__":
    main()
