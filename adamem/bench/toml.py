"""Experiment files: read, overridden, validated, with errors that name file, key, value and what was expected."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from adamem.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ConfigError` if it is missing, unreadable or not TOML."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = _nearby(path)
        raise ConfigError(f"{path}: there is no such file{near}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a UTF-8 text file in TOML") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error


def override(tables: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """The tables with ``key=value`` settings applied; the value is TOML, the key dotted.

    A member of a list of tables is named by its ``key``, or else its ``name``: ``contestant.hnsw.build.M=[8, 16]``.

    Raises
    ------
    ConfigError
        for a setting that is not ``key=value``, or whose key leads nowhere.
    """
    result: dict[str, Any] = _copy(dict(tables))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f'--set {setting}: expected key=value, such as measure.rounds=3 or dataset.name="pydocs"')
        _put(result, key.strip().split("."), _value(text.strip()), setting)
    return result


def validate(model: type[ModelT], tables: Mapping[str, Any], *, source: str) -> ModelT:
    """The tables as `model`. Raises `ConfigError` about the first thing that is wrong, and how many more there are."""
    try:
        return model.model_validate(dict(tables))
    except ValidationError as error:
        # A misspelt key is also a missing one: the former says what to mend.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(f"{source}: {_sentence(dict(problems[0]), model, tables)}{more}") from error


def _sentence(problem: dict[str, Any], model: type[BaseModel], tables: Mapping[str, Any]) -> str:
    location = [part for part in problem["loc"] if not (isinstance(part, str) and part in _UNION_TAGS)]
    key = key_path(location, tables)
    kind = problem["type"]
    if kind == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        return f"{key} is not a key here; {guess}expected one of {', '.join(sorted(known))}"
    if kind == "missing":
        return f"{key} is missing; add it"
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    message = message[0].lower() + message[1:]
    if not key:
        return message
    return f"{key} = {problem['input']!r}: {message}"


def key_path(location: Iterable[str | int], tables: Mapping[str, Any]) -> str:
    """A place in the tables as a person would write it; members of lists of tables go by their name."""
    here: Any = tables
    text = ""
    for part in location:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            here = None
        if isinstance(part, int):
            name = _called(here)
            text += f"[{name!r}]" if name else f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


_UNION_TAGS = {"int", "float", "bool", "str", "list[union[int,float,bool,str]]"}


def _fields_at(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    here: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = here.model_fields[part].annotation
        while not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            # Optional[...] and Annotated[list[...], ...]: the model is the innermost argument.
            annotation = next(arg for arg in annotation.__args__ if arg is not type(None))
        here = annotation
    return list(here.model_fields)


def _called(member: Any) -> Any:
    """What a member of a list of tables goes by: its key where it has one, for its name may be another's too."""
    return member.get("key", member.get("name")) if isinstance(member, Mapping) else None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string: the shell has eaten its quotes


def _put(tables: Any, path: list[str], value: Any, setting: str) -> None:
    here = tables
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(here, list):
            member = next((one for one in here if isinstance(one, dict) and _called(one) == part), None)
            if member is None or last:
                names = ", ".join(str(_called(one)) for one in here if isinstance(one, dict))
                raise ConfigError(
                    f"--set {setting}: {'.'.join(path[: depth + 1])} leads nowhere; the names there are {names}"
                )
            here = member
        elif not isinstance(here, dict):
            raise ConfigError(
                f"--set {setting}: {'.'.join(path[:depth])} is a value, not a table; expected a key that leads to one"
            )
        elif last:
            here[part] = value
        else:
            here = here.setdefault(part, {})


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copy(inner) for inner in value]
    return value


def _nearby(path: Path) -> str:
    folder = Path(path).parent
    names = [one.name for one in folder.glob("*.toml")] if folder.is_dir() else []
    near = difflib.get_close_matches(Path(path).name, names, n=1, cutoff=0.4)
    if near:
        return f"; did you mean {folder / near[0]}?"
    return f"; {folder} holds {', '.join(sorted(names))}" if names else "; expected the path of an experiment (*.toml)"
