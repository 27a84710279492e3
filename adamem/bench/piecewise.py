"""An experiment measured piece by piece: what is whole, and of just this, is never measured again."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from adamem import __version__
from adamem.bench import machine
from adamem.bench.context import Reporter
from adamem.bench.pieces import Piece, PieceFolder, PiecesRun
from adamem.errors import CorruptResult, InvalidInput, StorageError, TrialFailed
from adamem.files import content_key
from adamem.types import AnyArray

_WORDS = ("title", "expected", "machine", "wall_minutes", "launch")
Arrays = dict[str, AnyArray]
Measured = tuple[Arrays, dict[str, Any]]
"""The arrays of a piece, and its facts."""


class PiecewiseExperiment(Protocol):
    """What the run's record has of an experiment."""

    @property
    def name(self) -> str:
        """The run's name."""
        ...

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def study(self) -> str:
        """The name of its study."""
        ...

    def resolved(self) -> dict[str, Any]:
        """As plain JSON, every default filled in."""
        ...


class Piecewise:
    """Keeps the pieces of one experiment in one folder.

    Parameters
    ----------
    folder
        Where they are kept.
    experiment, names
        What is measured, and the names of all its pieces, in order.
    scratch
        A folder for what a piece needs while it is measured.
    holds
        Whether a piece of a former run of this very config is what this version would measure, as far as is seen at
        once; any other is measured anew when it is come to.
    """

    def __init__(
        self,
        folder: PieceFolder,
        experiment: PiecewiseExperiment,
        names: Sequence[str],
        *,
        scratch: Path,
        reporter: Reporter,
        holds: Callable[[Piece], bool] = lambda _: True,
    ) -> None:
        self.folder = folder
        self._experiment = experiment
        self._names = list(names)
        self._scratch = scratch
        self._reporter = reporter
        self._absent: dict[str, str] = {}
        self._counted: list[str] = []
        before = folder.run() if folder.is_at(folder.path) else None
        self._started = _now() if before is None else before.started
        # What another config measured counts when this one has come to it and found it to be what it asks for; so does
        # what was measured as another version would not.
        same = before is not None and _measured(before.config) == _measured(experiment.resolved())
        former = before.pieces if before and same else ()
        self._kept = {name: piece.machine for name in former if (piece := self._of_now(name, holds)) is not None}
        known = [] if before is None else [before.machine, *before.others]
        self._machines = {str(one["fingerprint"]): one for one in [*known, machine.describe()]}

    def _of_now(self, name: str, holds: Callable[[Piece], bool]) -> Piece | None:
        try:
            piece = self.folder.piece(name)
        except CorruptResult:
            return None
        return piece if piece.spec.get("format") == self.folder.FORMAT and holds(piece) else None

    def parts(
        self, wanted: Sequence[str], measure: Callable[[str], None], *, done: Callable[[Path], object], whole: bool
    ) -> None:
        """Measure one part after the other; `done` is told at the end, and `whole` says that these are all parts.

        A part whose data are not on this machine does not keep the others from being measured.

        Raises
        ------
        TrialFailed
            at the end, if a part could not be measured.
        """
        path = self.folder.path
        self._write(finished=False)
        for number, part in enumerate(wanted, start=1):
            self._reporter.say(f"part {number} of {len(wanted)}: {part}")
            try:
                measure(part)
            except StorageError as error:
                self._absent[part] = str(error)
                self._reporter.say(f"{part}: {error}")
            self._write(finished=False)
        complete = self._write(finished=True)
        if self._counted:
            done(path)
        if self._absent:
            told = "; ".join(f"{part}: {why}" for part, why in self._absent.items())
            raise TrialFailed(f"{len(self._absent)} of {len(wanted)} parts could not be measured: {told}")
        if not complete and whole:
            raise TrialFailed(f"{path} is not whole, though every part was run; run it again")

    def piece(self, name: str, spec: Mapping[str, Any], measure: Callable[[Path], Measured]) -> None:
        """Have a piece of just this `spec`, measured now unless it is there; `measure` is given a folder of its own."""
        spec = {
            **spec,
            "format": self.folder.FORMAT,
            "adamem": __version__.split("+")[0],
            "machine": machine.describe()["fingerprint"],
            "versions": machine.library_versions(),
        }
        key = content_key({"name": name, **spec})
        if not self.folder.has(name, key):
            self._reporter.now(name)
            watch, started = machine.Watch.now(), _now()
            begun = datetime.now(UTC)
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                arrays, facts = measure(Path(folder))
            piece = Piece(
                format=self.folder.FORMAT,
                name=name,
                key=key,
                spec=dict(spec),
                facts=facts,
                started=started,
                wall_seconds=round((datetime.now(UTC) - begun).total_seconds(), 3),
                machine=machine.describe()["fingerprint"],
                fitness=watch.since(0.0),
                arrays="",
            )
            self.folder.write(piece, arrays)
            self._counted.append(name)
            self._write(finished=False)  # what is cut off later counts what it has
        else:
            self._counted.append(name)

    def _write(self, *, finished: bool) -> bool:
        """Write the run's record; whether all pieces of the whole experiment are there."""
        there = [name for name in self._names if name in self._kept or name in self._counted]
        complete = there == self._names
        experiment, (most, *others) = self._experiment, self._by_pieces(there)
        self.folder.write_run(
            PiecesRun(
                format=self.folder.FORMAT,
                adamem=__version__,
                name=experiment.name,
                title=experiment.title,
                study=experiment.study,
                config=experiment.resolved(),
                machine=most,
                others=others,
                versions=machine.library_versions(),
                started=self._started,
                finished=_now() if finished and complete else None,
                status="complete" if complete else "incomplete",
                pieces=there,
                absent=self._absent,
            )
        )
        return complete

    def _by_pieces(self, there: Sequence[str]) -> list[dict[str, Any]]:
        """The machines that measured what is there, those of most pieces first; this one where nothing is."""
        here = str(machine.describe()["fingerprint"])
        counts = Counter(here if name in self._counted else self._kept[name] for name in there)
        return [self._machines[one] for one, _ in counts.most_common() if one in self._machines] or [machine.describe()]


def refuse_foreign(folder: PieceFolder, name: str) -> None:
    """Raise `InvalidInput` if the folder holds something else than the run `name`: files there would be replaced."""
    path = folder.path
    if not folder.is_at(path):
        if path.is_dir() and any(not one.name.startswith(".") for one in path.iterdir()):
            raise InvalidInput(
                f"{path} holds something else than a run on {folder.ABOUT}, and files there would be replaced; choose "
                "a new folder with --out"
            )
        return
    held = folder.run().name
    if held != name:
        raise InvalidInput(
            f"{path} holds the run {held!r}, and this is {name!r}; choose another folder with --out, or remove that one"
        )


def _measured(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config bears on what is measured."""
    return {key: value for key, value in config.items() if key not in _WORDS}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
