"""Where the files of a data set lie on this machine."""

from __future__ import annotations

from pathlib import Path

from adamem.data.cards import Card
from adamem.data.places import download_folder, mirror_folders
from adamem.errors import StorageError


def locate(card: Card) -> Path | None:
    """The first folder that holds all files of the card: those of `ADAMEM_DATA`, then the cache; None if none does."""
    wanted = [item.path for item in card.files if item.role != "archive"]
    home = card.files_of or card.name
    places = [folder / home for folder in mirror_folders()] + [download_folder(home)]
    if card.home is not None:
        places.insert(0, card.home)
    return next((place for place in places if wanted and all((place / path).is_file() for path in wanted)), None)


def require(card: Card) -> Path:
    """As `locate`, but absent files are an error.

    Raises
    ------
    StorageError
        naming the files and the ways to get them. Nothing is ever downloaded here.
    """
    found = locate(card)
    if found is not None:
        return found
    if card.home is not None:
        lacking = [card.home / item.path for item in card.files if not (card.home / item.path).is_file()]
        raise StorageError(
            f"data set {card.name!r} lacks {', '.join(map(str, lacking))}; put back what is absent, or "
            f"{card.import_again()}"
        )
    files = ", ".join(item.path for item in card.files if item.role != "archive")
    fetchable = all(item.url for item in card.files if item.role != "archive") or card.file("archive") is not None
    fetch = f"run `adamem data fetch {card.files_of or card.name}` or " if fetchable else ""
    raise StorageError(
        f"data set {card.name!r} is not on this machine ({files}); {fetch}set ADAMEM_DATA to a folder that holds "
        f"{card.files_of or card.name}/"
    )
