"""What a model is, as one hash: equal fingerprints mean equal vectors, up to rounding."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from adamem.files import content_key, sha256_file

_READ_BY_LOADERS = frozenset({".json", ".txt", ".model", ".safetensors", ".bin", ".jinja"})
"""Weights, vocabularies, merges and settings; not the README, nor formats that are not loaded (ONNX ...)."""

_NOT_READ = frozenset(
    {"data_config.json", "train_script.json", "training_args.bin", "optimizer.bin", "requirements.txt"}
)
"""Notes about the training that bear a loader's suffix."""

_OTHER_BACKENDS = frozenset({"onnx", "openvino", "coreml", "gguf", "checkpoints"})


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file; hashed again in this process only once its size or time of change differ."""
    facts = path.stat()
    return _hashed(str(path.resolve()), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001 -- size and time are the cache's key
    return sha256_file(Path(path))


def model_files(folder: Path) -> list[Path]:
    """The files below `folder` that a loader may read, sorted; each weight file once, in the format that is loaded."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in _READ_BY_LOADERS
        and path.name not in _NOT_READ
        and not any(part in _OTHER_BACKENDS or part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    with_safetensors = {path.parent for path in found if path.suffix == ".safetensors"}
    return [path for path in found if not (path.suffix == ".bin" and path.parent in with_safetensors)]


def model_fingerprint(folder: Path, *, query_prefix: str, document_prefix: str, dtype: str) -> str:
    """Hex SHA-256 over a model's files and how they are used.

    Pooling, normalisation and the cut-off (`max_seq_length`) stand in the files themselves. Where the folder lies and
    what it is called do not count; torch need not be loaded.
    """
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in model_files(folder)}
    return content_key(
        {
            "kind": "sentence-transformers",
            "files": files,
            "query_prefix": query_prefix,
            "document_prefix": document_prefix,
            "dtype": dtype,
            "normalised": True,
        }
    )
