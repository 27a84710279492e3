"""The report of a run on the memory engine: `gathered` scores it, `tables` and `compose` say it."""
