"""Pure: faults that lie between the parts of a configuration, each part being well by itself."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from poller.options import EndpointOptions, Name, SinkOptions, SourceOptions, show_duration

MARGIN = 2 * 86_400.0
"""Seconds that ids are remembered and dead letters kept beyond the reach of the longest rung."""

Fault = tuple[tuple[str | int, ...], str]
_NAME = TypeAdapter[str](Name)


def source_id(name: str, source: SourceOptions) -> str:
    """What the identities and checkpoints of a source hang on."""
    return source.id or name


def endpoints_of(source: SourceOptions) -> dict[str, EndpointOptions]:
    """The configured endpoints of a source by key (`user_calls`)."""
    endpoints = getattr(source, "endpoints", ())
    return {name: options for name, options in endpoints if isinstance(options, EndpointOptions)}


def cross_faults(
    sources: Mapping[str, SourceOptions], sinks: Mapping[str, SinkOptions], horizons: Mapping[str, float]
) -> Iterator[Fault]:
    """Every fault between the parts. `horizons`: `seen_ttl` and `dead_letter_retention` in seconds, where they are well."""
    yield from _names("sources", sources)
    yield from _names("sinks", sinks)
    yield from _same_ids(sources)
    yield from _idle(sources)
    yield from _transactional_ids(sinks)
    yield from _renamed(sinks)
    yield from _unknown_sources(sources, sinks)
    for horizon, length in horizons.items():
        yield from _reach(sources, horizon, length)


def _names(section: str, names: Iterable[str]) -> Iterator[Fault]:
    for name in names:
        try:
            _NAME.validate_python(name)
        except ValidationError:
            yield (
                (section, name),
                "a name has letters, digits, `.`, `_`, `-`, at most 64, and begins with the first two",
            )


def _same_ids(sources: Mapping[str, SourceOptions]) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, source in sources.items():
        first = owners.setdefault(source_id(name, source), name)
        if first != name:
            yield ("sources", name, "id"), f"{source_id(name, source)!r} is also the id of `{first}`: ids must differ"


def _idle(sources: Mapping[str, SourceOptions]) -> Iterator[Fault]:
    for name, source in sources.items():
        if not endpoints_of(source):
            yield ("sources", name, "endpoints"), "names no endpoint, so nothing would be read"


def _transactional_ids(sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    """The broker knows a sender by prefix and sink; two of the same would fence each other without end."""
    owners: dict[str, str] = {}
    for name, sink in sinks.items():
        prefix = getattr(sink, "transactional_id_prefix", None)
        if prefix is None:
            continue
        first = owners.setdefault(f"{prefix}.{name}", name)
        if first != name:
            place = ("sinks", name, "transactional_id_prefix")
            yield place, f"together with the sink's name it is that of `{first}` too: `{prefix}.{name}`"


def _renamed(sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    heirs = defaultdict(list)
    for name, sink in sinks.items():
        if sink.renamed_from is not None:
            heirs[sink.renamed_from].append(name)
    for old, names in heirs.items():
        if old in sinks:
            yield ("sinks", names[0], "renamed_from"), f"`{old}` is still a sink of its own"
        for name in names[1:]:
            yield ("sinks", name, "renamed_from"), f"`{names[0]}` takes over the position of `{old}` already"


def _unknown_sources(sources: Mapping[str, SourceOptions], sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    """A misspelt source in a filter would keep every event back without a word."""
    known = {source_id(name, source) for name, source in sources.items()}
    for name, sink in sinks.items():
        for number, wanted in enumerate(getattr(sink, "sources", None) or ()):
            if wanted not in known:
                place = ("sinks", name, "sources", number)
                yield place, f"`{wanted}` is the id of no source; there are {', '.join(sorted(known))}"


def _reach(sources: Mapping[str, SourceOptions], horizon: str, length: float) -> Iterator[Fault]:
    """What is forgotten while its row is still polled would be new again."""
    what = {"seen_ttl": "ids must be remembered", "dead_letter_retention": "dead letters must be kept"}[horizon]
    for name, source in sources.items():
        for key, endpoint in endpoints_of(source).items():
            back = endpoint.ladder[-1].back
            if length < back + MARGIN:
                sentence = f"reaches back {show_duration(back)}, and {what} 2 days longer: "
                sentence += (
                    f"{horizon} is {show_duration(length)}, but at least {show_duration(back + MARGIN)} is needed"
                )
                yield ("sources", name, "endpoints", key, "ladder"), sentence
