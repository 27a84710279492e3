"""Every exception that AdaMem raises on purpose.

::

    AdaMemError
    +-- UserError                    the caller can mend it; the command line exits with status 2
    |   +-- InvalidInput             (ValueError)           vectors, ids, k or parameters that break the rules
    |   +-- UnknownName              (LookupError)          no index, dataset, encoder or parameter of that name
    |   +-- UnsupportedOperation     (NotImplementedError)  this index cannot do that; the message names who can
    |   +-- MissingExtra             (ImportError)          an optional dependency is missing; has the pip line
    |   +-- ConfigError              (ValueError)           an experiment file: file, key, value and what was expected
    |   +-- DataError                (ValueError)           a data file that is truncated, altered or of another format
    |   +-- DownloadError            (OSError)              a download that failed or does not match its checksum
    |   +-- StorageError             (OSError)              a file or folder that cannot be written or read
    |   +-- CorruptResult            (ValueError)           a raw result or cache file that is not what was written
    +-- TrialFailed                  (RuntimeError)         an index crashed, hung or outgrew its limits while measured
    +-- LearningFailed               (RuntimeError)         an adapter's training left the finite numbers
    +-- VerificationFailed           (ValueError)           a report that does not follow from its raw files

Each also subclasses the builtin that a caller would expect. A message is one sentence that says what is wrong,
which value it was, what was expected, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AdaMemError(Exception):
    """The root: catch this to catch everything AdaMem raises on purpose."""


class UserError(AdaMemError):
    """Something that the caller can mend."""


class InvalidInput(UserError, ValueError):
    """Vectors, ids, k or parameters that break the rules of the exchange."""


class UnknownName(UserError, LookupError):
    """No index, dataset, encoder, metric or parameter of that name."""

    @classmethod
    def of(cls, kind: str, name: object, known: Iterable[str], *, hint: str = "") -> UnknownName:
        """The usual sentence: what was asked for, the nearest known name, and all of them."""
        names = sorted(known)
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        guess = f"; did you mean {near[0]!r}?" if near else ";"
        listing = ", ".join(names) if names else "none"
        return cls(f"unknown {kind} {name!r}{guess} known: {listing}{'; ' + hint if hint else ''}")


class UnsupportedOperation(UserError, NotImplementedError):
    """An index was asked for what it cannot do."""


class MissingExtra(UserError, ImportError):
    """An optional dependency is not installed."""


class ConfigError(UserError, ValueError):
    """An experiment file that cannot be run as it stands."""


class DataError(UserError, ValueError):
    """A data file that is truncated, altered, or of another format than expected."""


class DownloadError(UserError, OSError):
    """A download that failed or does not match its checksum."""


class StorageError(UserError, OSError):
    """A file or folder that cannot be written or read."""


class CorruptResult(UserError, ValueError):
    """A raw result or cache file that is not what was written."""


class TrialFailed(AdaMemError, RuntimeError):
    """An index crashed, hung or outgrew its limits while it was measured."""


class LearningFailed(AdaMemError, RuntimeError):
    """An adapter's training left the finite numbers; what had been learnt before is as it was."""


class VerificationFailed(AdaMemError, ValueError):
    """A report that does not follow from its raw files."""
