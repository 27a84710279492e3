"""Where data is looked for and where what we make of it is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloads, prepared vectors, embeddings and ground truth: `ADAMEM_CACHE`, or the user's cache."""
    chosen = os.environ.get("ADAMEM_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "adamem"


def mirror_folders() -> tuple[Path, ...]:
    """The folders of `ADAMEM_DATA` (separated as in PATH), in order; each holds one sub-folder a data set."""
    listed = os.environ.get("ADAMEM_DATA", "")
    return tuple(Path(item).expanduser().absolute() for item in listed.split(os.pathsep) if item)


def download_folder(name: str) -> Path:
    """Where `fetch` puts the files of the data set `name`."""
    return cache_folder() / "downloads" / name
