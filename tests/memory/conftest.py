"""Engines on real files, with an encoder that needs no model."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamem.encoders import open_encoder
from adamem.memory import MemoryEngine

DIM = 64


class Clock:
    """A clock that is set by hand; each look at it takes a microsecond."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the engine does, it does here."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"the engine reached for {address}")

    def unknown(*given: object, **named: object) -> None:
        raise AssertionError(f"the engine asked for the address of {given}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def encoder() -> Any:
    return open_encoder(f"hashing:{DIM}")


@pytest.fixture
def opened(encoder: Any, tmp_path: Path) -> Iterator[Callable[..., MemoryEngine]]:
    """Opens engines, by default on one file of this test, and closes them at its end."""
    engines: list[MemoryEngine] = []

    def open_engine(path: Path | str | None = None, **settings: Any) -> MemoryEngine:
        engine = MemoryEngine(path or tmp_path / "memory.db", **{"encoder": encoder, **settings})
        engines.append(engine)
        return engine

    yield open_engine
    for engine in engines:
        engine.close()


@pytest.fixture
def unit() -> Callable[..., np.ndarray]:
    """Random vectors of length 1: float32 (n, d)."""

    def make(n: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
        vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return make
