"""`adamem data fetch`: the files of a card, into the cache. Only here is the network used, and only when asked."""

from __future__ import annotations

import logging
import shutil
import zipfile
from pathlib import Path

from adamem.data.cards import Card, CardFile, card
from adamem.data.check import RECORD
from adamem.data.download import download
from adamem.data.locate import locate, require
from adamem.data.places import download_folder
from adamem.data.progress import Progress
from adamem.errors import DataError, DownloadError
from adamem.files import atomic_write

log = logging.getLogger("adamem.data")


def fetch(name: str, progress: Progress | None = None) -> Path | None:
    """Download what a data set needs and this machine lacks; returns its folder (None for a set without files).

    Where the source publishes no checksum, the one of the first download is written beside the file (NAME.sha256) and
    holds from then on; that this is so is logged.

    Raises
    ------
    UnknownName
        if there is no such card.
    DownloadError
        if a file has no public address, cannot be fetched, or is another than the card describes.
    StorageError
        if the cache cannot be written, or files of an imported set are gone.
    """
    known = card(name)
    if known.home is not None:
        return require(known)  # one's own files: here, or nowhere
    for other in (known.cut_from, known.judged_by):
        if other is not None and locate(card(other)) is None:
            fetch(other, progress)
    if not known.files:
        return None
    found = locate(known)
    if found is not None:
        return found
    folder = download_folder(known.name)
    archive = known.file("archive")
    if archive is not None:
        _fetch_archive(known, archive, folder, progress)
        return folder
    lacking = next((item for item in known.files if item.url is None), None)
    if lacking is not None:
        raise DownloadError(
            f"data set {known.name!r} has no public address for {lacking.path}: {known.source}; put its files into "
            f"{known.name}/ in a folder of ADAMEM_DATA"
        )
    for item in known.files:
        if not (folder / item.path).is_file():
            _fetch_file(item, folder / item.path, progress)
    return folder


def _fetch_file(item: CardFile, target: Path, progress: Progress | None) -> None:
    # A gzipped file may be packed otherwise at its source: then its content is what `verified` compares.
    sha256 = None if item.unpacked_sha256 else item.sha256
    found = download(item.url or "", target, sha256=sha256, md5=item.md5, progress=progress)
    if item.sha256 is None and item.md5 is None and item.unpacked_sha256 is None:
        log.warning("no checksum is published for %s; %s is recorded now and holds from here on", item.url, found[:12])
        _record(target, found)


def _fetch_archive(known: Card, archive: CardFile, folder: Path, progress: Progress | None) -> None:
    packed = folder / archive.path
    if not packed.is_file():
        _fetch_file(archive, packed, progress)
    wanted = [item for item in known.files if item.role != "archive"]
    try:
        with zipfile.ZipFile(packed) as contents:
            # An archive has its files in a folder of its own, or at the top; names are matched, never extracted to.
            members = {name.partition("/")[2] or name: name for name in contents.namelist()}
            members |= {name: name for name in contents.namelist()}
            for item in wanted:
                if item.path not in members:
                    raise DataError(f"{packed} has no {item.path}; delete it and fetch it again")
                with contents.open(members[item.path]) as source, atomic_write(folder / item.path) as stream:
                    shutil.copyfileobj(source, stream, 1 << 20)
    except zipfile.BadZipFile as error:
        raise DataError(f"{packed} is no whole archive: {error}; delete it and fetch it again") from error
    packed.unlink()


def _record(target: Path, sha256: str) -> None:
    with atomic_write(target.with_name(target.name + RECORD)) as stream:
        stream.write(f"{sha256}  {target.name}\n".encode())
