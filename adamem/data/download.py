"""One file over HTTP: resumed where it was cut, checked, and put in place whole or not at all.

What has come so far lies beside the target as ``NAME.part``, and ``NAME.part.json`` says which version of the file it
is (its ETag, or the time of its last change). The next attempt asks for the rest on condition that it still is that
version (If-Range, RFC 9110, section 13.1.5); a server that does not know ranges sends the whole file again.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adamem.data.progress import Progress, silent
from adamem.errors import DownloadError, StorageError
from adamem.files import fsync_folder, storage_error

_BLOCK = 1 << 18
_TIMEOUT = 60.0  # seconds without a byte
_ATTEMPTS = 3
_PAUSE = 1.0  # seconds before the second attempt; it doubles

_AGENT = "adamem"


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
    timeout: float = _TIMEOUT,
    pause: float = _PAUSE,
) -> str:
    """Bring `url` to `target`; returns the hex SHA-256 of what came.

    A connection that breaks is taken up again, three attempts in all as long as nothing comes; an attempt that brings
    something does not count. Ctrl-C, a kill and a full disk leave the part for the next call.

    Raises
    ------
    DownloadError
        if the server refuses, the connection keeps breaking, or the checksum is another (the part is then deleted).
    StorageError
        if the disk is full or the folder cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, target) from error
    _fetch(url, part, progress or silent, timeout, pause)
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with open(part, "rb") as stream:
        while block := stream.read(1 << 20):
            for digest in digests.values():
                digest.update(block)
    for kind, expected in (("sha256", sha256), ("md5", md5)):
        found = digests[kind].hexdigest()
        if expected is not None and found != expected:
            _forget(part)
            raise DownloadError(
                f"{url} has the {kind} {found}, expected {expected}: it is not the file that was meant, and what came "
                "was deleted; try again, and if it stays so the source has changed"
            )
    try:
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
        fsync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, target) from error
    _note(part).unlink(missing_ok=True)
    return digests["sha256"].hexdigest()


def _fetch(url: str, part: Path, tell: Progress, timeout: float, pause: float) -> None:
    """Bring the whole of `url` into `part`, in as many attempts as bring something forward, and at most two more."""
    idle = 0
    while True:
        before = _size(part)
        try:
            if _attempt(url, part, tell, timeout):
                return
            why = "the connection closed early"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DownloadError(
                    f"{url} answers {error.code} {error.reason}; check the address and your access, or put the file "
                    "into a folder of ADAMEM_DATA"
                ) from error
            why = f"the server answers {error.code} {error.reason}"
        except StorageError:
            raise
        except (OSError, http.client.HTTPException) as error:  # refused, cut, timed out: URLError is an OSError too
            why = str(getattr(error, "reason", "") or error) or type(error).__name__
        idle = 0 if _size(part) > before else idle + 1
        if idle == _ATTEMPTS:
            raise DownloadError(
                f"{url} cannot be fetched: {why}; {_size(part):,} bytes are kept, call again to go on from there"
            )
        time.sleep(pause * 2**idle)


def _attempt(url: str, part: Path, tell: Progress, timeout: float) -> bool:
    """One request; True if the part is whole afterwards."""
    have, version = _size(part), _version(part)
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            _forget(part)  # more than there is: not the same file
            return False
        raise
    with answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            have = 0
        total = _total(answer.headers, have)
        _write_note(part, answer.headers)
        with contextlib.ExitStack() as stack:
            try:
                stream = stack.enter_context(open(part, "ab" if have else "wb"))
            except OSError as error:
                raise storage_error(error, part) from error
            while block := answer.read1(_BLOCK):  # what is there: an interrupt loses nothing that has come
                _write(stream, block, part)
                have += len(block)
                tell(have, max(total or 0, have), f"fetching {part.name.removesuffix('.part')}")
        if total is not None and have > total:
            _forget(part)
            return False
        return total is None or have == total


def _write(stream: Any, block: bytes, part: Path) -> None:
    # Only here: a broken connection is an OSError too, and not a full disk.
    try:
        stream.write(block)
        stream.flush()
    except OSError as error:
        raise storage_error(error, part) from error


def _total(headers: Mapping[str, str], have: int) -> int | None:
    ranged = headers.get("Content-Range", "").rpartition("/")[2]
    if ranged.isdigit():
        return int(ranged)
    length = headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_note(part: Path, headers: Mapping[str, str]) -> None:
    # A weak ETag may not be used with If-Range.
    etag = headers.get("ETag", "")
    version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    try:
        _note(part).write_text(json.dumps({"version": version}), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, part) from error


def _version(part: Path) -> str:
    try:
        return str(json.loads(_note(part).read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
