"""AdaMem: vector indexes as the long-term memory of language-model agents, compared on real data."""

__version__ = "0.1.0"
