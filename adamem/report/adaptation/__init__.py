"""The report of a run on adaptation."""
