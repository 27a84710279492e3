"""SpiralGraph: a graph over 8-bit codes whose searches begin where a Fibonacci spiral says."""
