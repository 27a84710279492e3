"""Models that sentence-transformers can load; torch is imported when the first text is encoded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adamem.encoders.fingerprint import model_files, model_fingerprint
from adamem.encoders.hub import fetch_model
from adamem.encoders.prefixes import find_prefixes
from adamem.errors import DataError, MissingExtra
from adamem.types import FloatArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH = 32
_DTYPE = "float32"


class SentenceEncoder:
    """A sentence-transformers model in a folder.

    The fingerprint is read from the files, so a collection whose vectors are cached never loads torch. Each call sorts
    its texts by length into batches of 32; a text's vector depends on the batch it falls into by rounding alone
    (measured below 1e-6 per component in float32), and equal calls give equal bytes on one machine.

    Parameters
    ----------
    folder
        Holds the model; nothing is ever fetched from a network.
    name
        What a person would call it.
    query_prefix, document_prefix
        Written before each text; see `adamem.encoders.prefixes`.
    device
        Where torch computes, ``cpu`` or ``cuda``; None takes an accelerator where there is one.
    """

    def __init__(
        self, folder: Path, *, name: str, query_prefix: str, document_prefix: str, device: str | None = None
    ) -> None:
        self.folder = folder
        self.device = device
        self.query_prefix = query_prefix
        self.document_prefix = document_prefix
        self._name = name
        if not any((folder / file).is_file() for file in ("modules.json", "config.json")):
            raise DataError(
                f"{folder} holds no model that sentence-transformers can load: expected modules.json or config.json "
                "in it; name the folder that SentenceTransformer.save wrote"
            )
        if not any(path.suffix in {".safetensors", ".bin"} for path in model_files(folder)):
            raise DataError(f"{folder} holds no weights (*.safetensors or *.bin); copy or download the model whole")

    @property
    def name(self) -> str:
        """The hub's name, the folder's name, or ``minilm``."""
        return self._name

    @property
    def dim(self) -> int:
        """The length of its vectors; the first call loads the model."""
        dim = self._model.get_embedding_dimension()
        return int(dim) if dim is not None else int(self._encode_one_to_see())

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the model's files, the prefixes and the dtype; see `model_fingerprint`."""
        return model_fingerprint(
            self.folder, query_prefix=self.query_prefix, document_prefix=self.document_prefix, dtype=_DTYPE
        )

    def encode_query(self, texts: list[str]) -> FloatArray:
        """Questions as float32 (len(texts), dim), unit norm."""
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        vectors = self._model.encode_query(
            texts, prompt=self.query_prefix, batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def encode_document(self, texts: list[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm."""
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        vectors = self._model.encode_document(
            texts, prompt=self.document_prefix, batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which whoever gets it loads again."""
        return {name: value for name, value in self.__dict__.items() if name != "_model"}

    def on(self, device: str | None) -> SentenceEncoder:
        """The same model elsewhere, as an encoder of its own."""
        return SentenceEncoder(
            self.folder,
            name=self._name,
            query_prefix=self.query_prefix,
            document_prefix=self.document_prefix,
            device=device,
        )

    def _encode_one_to_see(self) -> int:
        return int(self._model.encode_document(["dimension"], show_progress_bar=False).shape[1])

    @cached_property
    def _model(self) -> SentenceTransformer:
        with _quiet():
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 -- heavy, and only now needed

            try:
                # float32 whatever the file holds: half precision would give other vectors on other machines.
                return SentenceTransformer(
                    str(self.folder), device=self.device, local_files_only=True, model_kwargs={"dtype": _DTYPE}
                )
            except Exception as error:  # the parsers of five libraries raise whatever they like on a broken file
                raise DataError(
                    f"the model in {self.folder} cannot be loaded: {_first_line(error)}; copy or download it again"
                ) from error


def open_folder(folder: Path) -> SentenceEncoder:
    """The model in `folder`, with the prefixes that it or its name asks for."""
    require_extra(str(folder), extra="encoders")
    prefixes = find_prefixes(folder.resolve(), folder.name)
    return SentenceEncoder(
        folder, name=folder.resolve().name, query_prefix=prefixes.query, document_prefix=prefixes.document
    )


def open_hub_model(name: str) -> SentenceEncoder:
    """The model `name` of the hub, from the hub's cache or downloaded into it."""
    require_extra(name, extra="encoders")
    folder = fetch_model(name)
    prefixes = find_prefixes(folder, name)
    return SentenceEncoder(folder, name=name, query_prefix=prefixes.query, document_prefix=prefixes.document)


def require_extra(name: str, *, extra: str) -> None:
    """Raise `MissingExtra` with the pip line unless torch and sentence-transformers are installed; imports neither."""
    for package in ("torch", "sentence_transformers"):
        if find_spec(package) is None:
            raise MissingExtra(
                f"the encoder {name} needs {package}, which is not installed; pip install 'adamem[{extra}]'"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' warnings and their bar for reading 100 tensors off the caller's screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging  # noqa: PLC0415 -- heavy, and only now needed

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]  # its signature is bare
        try:
            yield
        finally:
            if shown:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]  # its signature is bare


def _first_line(error: Exception) -> str:
    return next((line.strip().rstrip(".;") for line in str(error).splitlines() if line.strip()), type(error).__name__)
