"""Encoders by name: the three that come with AdaMem, a model of the hub, or a model's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from adamem.encoders.minilm import open_minilm
from adamem.encoders.protocol import Encoder
from adamem.encoders.sentence import open_folder, open_hub_model
from adamem.errors import InvalidInput, UnknownName

DEFAULT_MODEL = "intfloat/multilingual-e5-base"
"""The model that is meant where neither a caller nor the environment variable EMBED_MODEL names one."""

_HINT = "or name a model of the hub as owner/model, or the path of a model's folder"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

FitOn = Sequence[str] | None


def encoder_names() -> tuple[str, ...]:
    """The names of the encoders that need no hub, sorted; nothing is imported."""
    return tuple(sorted(_OPENERS))


def open_encoder(spec: str | None, *, fit_on: FitOn = None) -> Encoder:
    """The encoder that `spec` names.

    Parameters
    ----------
    spec
        One of

        * ``minilm`` -- all-MiniLM-L6-v2 from the package of the extra `minilm`, without any network;
        * ``lsa``, ``lsa:256`` -- TF-IDF + truncated SVD, fitted to `fit_on`; the number is the dimension;
        * ``hashing``, ``hashing:512`` -- hashed words and character n-grams, fitted to nothing;
        * ``owner/model`` -- a model of the hub, downloaded once into the hub's own cache;
        * the path of a folder that holds a model (a folder that exists wins over a hub name).

        None means: the one that the environment variable EMBED_MODEL names, and if it is unset or empty,
        `DEFAULT_MODEL`. A spec that is given always wins over EMBED_MODEL, so that an experiment file that names its
        encoder gives the same vectors everywhere.
    fit_on
        The collection's texts; only ``lsa`` reads them, and it needs them.

    Raises
    ------
    UnknownName
        if nothing bears that name.
    InvalidInput
        if the dimension is not one, or ``lsa`` has nothing to be fitted to.
    MissingExtra
        if the encoder's packages are not installed.
    DataError
        if the model's files are not what they should be.
    DownloadError
        if the hub cannot be reached and the model is not in its cache.
    """
    spec = _meant(spec)
    name, colon, argument = spec.partition(":")
    if name in _OPENERS:
        return _OPENERS[name](argument if colon else None, fit_on)
    folder = Path(spec).expanduser()
    if folder.is_dir():
        return open_folder(folder)
    if _HUB_NAME.fullmatch(spec) and not spec.startswith("."):
        return open_hub_model(spec)
    raise UnknownName.of("encoder", spec, encoder_names(), hint=_HINT)


def fitted_dim(spec: str | None) -> int | None:
    """The dimension of the encoder that `spec` names, as `open_encoder` takes it, where it has to be fitted to texts.

    None for all others; nothing is imported for them. Raises `InvalidInput` if the dimension is none.
    """
    name, colon, argument = _meant(spec).partition(":")
    if name != "lsa":
        return None
    from adamem.encoders.lsa import DEFAULT_DIM  # noqa: PLC0415 -- heavy, and only now needed

    return _dimension("lsa", argument if colon else None, DEFAULT_DIM)


def _meant(spec: str | None) -> str:
    return os.environ.get("EMBED_MODEL", "").strip() or DEFAULT_MODEL if spec is None else spec


def _minilm(argument: str | None, fit_on: FitOn) -> Encoder:  # noqa: ARG001 -- the openers share one signature
    if argument is not None:
        raise InvalidInput(f"minilm has one dimension, 384, and takes no ':{argument}'; write 'minilm'")
    return open_minilm()


def _hashing(argument: str | None, fit_on: FitOn) -> Encoder:  # noqa: ARG001 -- the openers share one signature
    from adamem.encoders.hashing import DEFAULT_DIM, HashingEncoder  # noqa: PLC0415 -- heavy, and only now needed

    return HashingEncoder(dim=_dimension("hashing", argument, DEFAULT_DIM))


def _lsa(argument: str | None, fit_on: FitOn) -> Encoder:
    from adamem.encoders.lsa import DEFAULT_DIM, LsaEncoder  # noqa: PLC0415 -- heavy, and only now needed

    dim = _dimension("lsa", argument, DEFAULT_DIM)
    if fit_on is None:
        raise InvalidInput("lsa is fitted to a collection and was given none; pass open_encoder('lsa', fit_on=texts)")
    return LsaEncoder(fit_on, dim=dim)


_OPENERS: dict[str, Callable[[str | None, FitOn], Encoder]] = {"minilm": _minilm, "lsa": _lsa, "hashing": _hashing}


def _dimension(name: str, argument: str | None, default: int) -> int:
    if argument is None:
        return default
    if not argument.isdecimal() or not 2 <= int(argument) <= 65_536:
        raise InvalidInput(
            f"the dimension of {name} must be a whole number from 2 to 65536, not {argument!r}; "
            f"write '{name}:{default}'"
        )
    return int(argument)
