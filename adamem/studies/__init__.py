"""Studies by name: one file each behind the `Study` protocol, found through the entry points ``adamem.studies``."""

from adamem.studies.protocol import GROUP, Sized, Study, study_class, study_names

__all__ = ["GROUP", "Sized", "Study", "study_class", "study_names"]
