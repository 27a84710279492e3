"""Models in folders, run with a real BERT of tiny size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.encoders.sentence import SentenceEncoder
from adamem.errors import DataError

Named = Callable[[str], Path]
TEXTS = ["the cat sat on a mat", "a dog ran", "the dog ran home home home home", "cat"]


def test_vectors_are_unit_float32_in_the_order_of_the_texts(model_named: Named):
    """Texts are sorted by length inside; the answer is not."""
    encoder = open_encoder(str(model_named("plain")))
    together = encoder.encode_document(TEXTS)
    assert together.dtype == np.float32
    assert together.shape == (4, encoder.dim) == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], encoder.encode_document([text])[0], atol=1e-6)
    assert encoder.encode_query([]).shape == encoder.encode_document([]).shape == (0, 16)


def test_equal_calls_give_equal_bytes(model_named: Named):
    """No dropout, no randomness: the cache may take one run for the other."""
    folder = model_named("plain")
    first, second = (open_encoder(str(folder)).encode_document(TEXTS) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_a_model_named_e5_gets_its_prefixes(model_named: Named):
    """Queries and passages are prefixed, exactly as if the caller had written the prefix before each text."""
    encoder = open_encoder(str(model_named("multilingual-e5-tiny")))
    plain = open_encoder(str(model_named("plain")))
    np.testing.assert_allclose(
        encoder.encode_query(TEXTS), plain.encode_query([f"query: {text}" for text in TEXTS]), atol=1e-6
    )
    np.testing.assert_allclose(
        encoder.encode_document(TEXTS), plain.encode_document([f"passage: {text}" for text in TEXTS]), atol=1e-6
    )
    assert np.abs(encoder.encode_query(TEXTS) - encoder.encode_document(TEXTS)).max() > 1e-3


def test_a_models_own_prompts_win_over_its_name(model_named: Named):
    """What stands in config_sentence_transformers.json is what it was trained with."""
    folder = model_named("e5-tuned")
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(
        json.dumps({**json.loads(settings.read_text()), "prompts": {"query": "dog ", "passage": "cat "}})
    )
    plain = open_encoder(str(model_named("plain")))
    encoder = open_encoder(str(folder))
    np.testing.assert_allclose(encoder.encode_query(["ran"]), plain.encode_query(["dog ran"]), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_document(["ran"]), plain.encode_document(["cat ran"]), atol=1e-6)


def test_the_fingerprint_follows_the_bytes_and_the_prefixes_and_not_the_place(model_named: Named):
    """Equal files elsewhere are the same encoder; another prefix, weight or cut-off is another one."""
    plain, moved, prefixed, cut, tuned = (model_named(name) for name in ("plain", "moved", "e5", "cut", "tuned"))
    settings = json.loads((cut / "sentence_bert_config.json").read_text())
    (cut / "sentence_bert_config.json").write_text(json.dumps({**settings, "max_seq_length": 8}))
    weights = bytearray((tuned / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tuned / "model.safetensors").write_bytes(weights)
    (moved / "README.md").write_text("Another text.")
    prints = [open_encoder(str(folder)).fingerprint for folder in (plain, moved, prefixed, cut, tuned)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_each_prefix_counts_in_the_fingerprint(model_named: Named):
    """An encoder whose queries alone are prefixed is another one, and not the one whose documents alone are."""
    folder = model_named("plain")
    prints = {
        SentenceEncoder(folder, name="plain", query_prefix=query, document_prefix=document).fingerprint
        for query, document in (("", ""), ("the ", ""), ("", "the "), ("the ", "the "))
    }
    assert len(prints) == 4


def test_weights_that_change_in_place_change_the_fingerprint(model_named: Named):
    """The hash is remembered by path, size and time of change, so a rewritten file is hashed again."""
    folder = model_named("plain")
    before = open_encoder(str(folder)).fingerprint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert open_encoder(str(folder)).fingerprint != before


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    """The message says which files were expected."""
    with pytest.raises(DataError, match=r"expected modules\.json or config\.json"):
        open_encoder(str(tmp_path))


def test_a_folder_without_weights_is_refused(model_named: Named):
    """A half-copied model is found out before torch is loaded."""
    folder = model_named("plain")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no weights"):
        open_encoder(str(folder))


def test_truncated_weights_are_an_error_in_one_sentence(model_named: Named):
    """A library's own exception does not reach the user bare."""
    folder = model_named("plain")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cannot be loaded: .*copy or download it again"):
        open_encoder(str(folder)).encode_query(["the cat"])


def test_loading_says_nothing_on_the_screen(model_named: Named, capfd: pytest.CaptureFixture[str]):
    """The libraries' bars and warnings would tear the caller's own progress display."""
    SentenceEncoder(model_named("plain"), name="plain", query_prefix="", document_prefix="").encode_query(["cat"])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
