"""The overview of a suite: what its data sets' own reports say, side by side."""
