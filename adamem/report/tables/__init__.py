"""The report's tables, each with its CSV."""
