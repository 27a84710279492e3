import hashlib
import http.server
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from adamem.data.download import download
from adamem.errors import DownloadError, StorageError

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `CONTENT` under names that say how it misbehaves; every request is noted in `server.asked`."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        name = self.path.strip("/")
        if name == "absent":
            self.send_error(404)
            return
        if name == "broken" or (name == "recovers" and len(self.server.asked) == 1):
            self.send_error(503)
            return
        content = CONTENT[::-1] if name == "changes" and len(self.server.asked) > 1 else CONTENT
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if wanted and name != "no-ranges" and self.headers.get("If-Range") in (None, etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if name != "no-length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        cuts = name in ("cut", "no-ranges", "changes") and len(self.server.asked) == 1
        if name == "slow":
            self.wfile.write(rest[:100_000])
            self.wfile.flush()
            self.server.halfway.set()
            if len(rest) > 100_000:
                time.sleep(20)
        elif name == "mute":
            time.sleep(20)
        elif name == "drips":
            self.wfile.write(rest[:50_000])
        else:
            self.wfile.write(rest[:100_000] if cuts else rest)


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.halfway = [], threading.Event()
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.socket.close()  # server_close would wait for the handler that sleeps


def test_a_file_comes_whole_and_checked(server, tmp_path):
    """The content, its checksum, progress to the end, and nothing left beside the file."""
    heard = []
    found = download(
        f"{server.url}/whole", tmp_path / "new" / "a", sha256=SHA256, progress=lambda *told: heard.append(told)
    )
    assert found == SHA256
    assert (tmp_path / "new" / "a").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    assert heard[-1] == (len(CONTENT), len(CONTENT), "fetching a")


def test_a_cut_connection_is_taken_up_where_it_broke(server, tmp_path):
    """After a cut at 100,000 bytes only the rest is asked for, and the file is right."""
    download(f"{server.url}/cut", tmp_path / "a", sha256=SHA256, pause=0)
    assert server.asked == [("/cut", None), ("/cut", "bytes=100000-")]


def test_a_connection_that_keeps_breaking_still_arrives(server, tmp_path):
    """As long as every attempt brings something, they are not counted."""
    download(f"{server.url}/drips", tmp_path / "a", sha256=SHA256, pause=0)
    assert [asked for _, asked in server.asked[1:]] == [f"bytes={start}-" for start in range(50_000, 300_000, 50_000)]


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    """A server that ignores the range is not misunderstood: the file starts over."""
    download(f"{server.url}/no-ranges", tmp_path / "a", sha256=SHA256, pause=0)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_over(server, tmp_path):
    """Halves of two versions are never joined: If-Range makes the server send the new one whole."""
    download(f"{server.url}/changes", tmp_path / "a", pause=0)
    assert server.asked[1] == ("/changes", "bytes=100000-")
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_a_length_is_not_needed(server, tmp_path):
    """A server that does not say how long the file is serves too."""
    download(f"{server.url}/no-length", tmp_path / "a", sha256=SHA256)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_forgotten(server, tmp_path):
    """A part that cannot belong to this file (416) is deleted, and the file fetched whole."""
    (tmp_path / "a.part").write_bytes(b"x" * 400_000)
    (tmp_path / "a.part.json").write_text(json.dumps({"version": f'"{hashlib.md5(CONTENT).hexdigest()}"'}))
    download(f"{server.url}/whole", tmp_path / "a", sha256=SHA256, pause=0)
    assert [asked for _, asked in server.asked] == ["bytes=400000-", None]


def test_a_part_of_unknown_version_is_not_trusted(server, tmp_path):
    """A part without its note could be anything: it is overwritten."""
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    download(f"{server.url}/whole", tmp_path / "a", sha256=SHA256)
    assert server.asked == [("/whole", None)]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_wrong_checksum_is_refused(server, tmp_path, kind):
    """Another file than was meant is deleted; the error says both checksums."""
    expected = "0" * (64 if kind == "sha256" else 32)
    with pytest.raises(DownloadError, match=rf"has the {kind} [0-9a-f]+, expected {expected}: .*deleted; try again"):
        download(f"{server.url}/whole", tmp_path / "a", **{kind: expected})
    assert not list(tmp_path.iterdir())


def test_an_absent_file_is_said_so_at_once(server, tmp_path):
    """404 is not tried again, and the error names the address and the way out."""
    with pytest.raises(DownloadError, match=r"/absent answers 404 Not Found; check the address.*ADAMEM_DATA"):
        download(f"{server.url}/absent", tmp_path / "a")
    assert len(server.asked) == 1


def test_a_passing_fault_is_waited_out(server, tmp_path):
    """One 503 is tried again; one that stays is given up after three attempts."""
    download(f"{server.url}/recovers", tmp_path / "a", sha256=SHA256, pause=0)
    assert len(server.asked) == 2
    server.asked.clear()
    with pytest.raises(DownloadError, match="cannot be fetched: the server answers 503"):
        download(f"{server.url}/broken", tmp_path / "b", pause=0)
    assert len(server.asked) == 3


def test_an_unreachable_server_is_an_error(tmp_path):
    """A refused connection is a sentence, not a traceback of the socket's."""
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*Connection refused.*call again to go on"):
        download("http://127.0.0.1:9/a", tmp_path / "a", pause=0)


def test_a_server_that_falls_silent_is_asked_again(server, tmp_path):
    """A server that stops in the middle is left after the timeout; the next attempt asks for the rest."""
    download(f"{server.url}/slow", tmp_path / "a", sha256=SHA256, timeout=0.2, pause=0)
    assert server.asked == [("/slow", None), ("/slow", "bytes=100000-"), ("/slow", "bytes=200000-")]


def test_a_mute_server_is_given_up(server, tmp_path):
    """A server that sends nothing is given up after three timeouts."""
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*timed out; 0 bytes are kept"):
        download(f"{server.url}/mute", tmp_path / "a", timeout=0.2, pause=0)
    assert len(server.asked) == 3


FETCH = """
import sys
from pathlib import Path
from adamem.data.download import download
download(sys.argv[1], Path(sys.argv[2]))
"""


def test_ctrl_c_leaves_the_part(server, tmp_path):
    """An interrupt in the middle keeps what has come; the next call asks for the rest only."""
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, f"{server.url}/slow", str(tmp_path / "a")], stderr=subprocess.PIPE
    )
    assert server.halfway.wait(30)
    part = tmp_path / "a.part"
    for _ in range(500):  # the bytes are on their way when the event is set
        if part.exists() and part.stat().st_size == 100_000:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert part.read_bytes() == CONTENT[:100_000]
    assert not (tmp_path / "a").exists()
    server.asked.clear()
    download(f"{server.url}/whole", tmp_path / "a", sha256=SHA256)
    assert server.asked == [("/whole", "bytes=100000-")]


def test_a_full_disk_is_said_and_loses_nothing(server, tmp_path):
    """Where no more can be written the error says so; with room again the download goes on."""
    limit = 150_000

    def small():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-B", "-c", FETCH, f"{server.url}/whole", str(tmp_path / "a")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=small,  # only calls into the kernel
        check=False,
        timeout=60,
    )
    assert "StorageError: cannot write" in done.stderr
    assert 0 < (tmp_path / "a.part").stat().st_size <= limit
    assert not (tmp_path / "a").exists()
    kept = (tmp_path / "a.part").stat().st_size
    server.asked.clear()
    download(f"{server.url}/whole", tmp_path / "a", sha256=SHA256)
    assert server.asked == [("/whole", f"bytes={kept}-")]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 128 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(server, tiny_disk):
    """On a file system without room the error says that the disk is full and what to do."""
    with pytest.raises(StorageError, match="the disk is full; free some space or choose another folder"):
        download(f"{server.url}/whole", tiny_disk / "a", sha256=SHA256)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    """A file where the folder should be is a storage error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        download(f"{server.url}/whole", tmp_path / "file" / "a")
