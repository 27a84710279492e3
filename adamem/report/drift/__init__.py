"""The report of a run on drift."""
