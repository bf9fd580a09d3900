"""Shared code: no kind, because it has no `Config`."""
