"""Polls phone systems for new calls and recordings and publishes each once."""

__version__ = "0.1.0"
