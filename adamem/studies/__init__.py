"""Studies by name: each is one file behind the `Study` protocol, found through the entry-point group ``adamem.studies``."""

from adamem.studies.protocol import GROUP, Study, study_class, study_names

__all__ = ["GROUP", "Study", "study_class", "study_names"]
