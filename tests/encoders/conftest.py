"""A real BERT of one layer with random weights, built by the libraries that build the big ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

_WORDS = ["query", "passage", ":", "the", "cat", "sat", "on", "a", "mat", "dog", "ran", "home"]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as SentenceTransformer.save writes one: 16 dimensions, mean pooling, no prompts."""
    torch = pytest.importorskip("torch", reason="the extra `encoders` is not installed")
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bare = tmp_path_factory.mktemp("bare") / "model"
    bare.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS]
    (bare / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(bare / "vocab.txt")).save_pretrained(bare)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(bare)
    whole = tmp_path_factory.mktemp("whole") / "model"
    SentenceTransformer(str(bare), local_files_only=True).save(str(whole))
    return whole


@pytest.fixture
def model_named(tiny_bert: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies the tiny model into a folder of the given name."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(tiny_bert, tmp_path / name))

    return copy
