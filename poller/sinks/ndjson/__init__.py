"""One event per line, in a file or on standard output: for a first look and for pipes. At least once."""

from poller.sinks.ndjson.sink import Config, NdjsonSink

__all__ = ["Config", "build"]


def build(name: str, config: Config, *, shards: int) -> NdjsonSink:  # noqa: ARG001 all shards share one file
    """A sink of this name. Opens nothing yet."""
    return NdjsonSink(name, config)
