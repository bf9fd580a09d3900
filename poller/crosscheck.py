"""Pure: faults that lie between the parts of a configuration, as far as the keys that they hang on are well."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from poller.near import meant
from poller.options import NAME_SENTENCE, EndpointOptions, Name, SinkOptions, SourceOptions, show_duration
from poller.rules import Fault, known

MARGIN = 2 * 86_400.0
"""Seconds that ids are remembered and dead letters kept beyond the reach of the longest rung."""

_SHOWN = 20
"""Names in one sentence."""
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
    """Every fault between the parts, each of which may have no more keys than are well. `horizons`: `seen_ttl` and `dead_letter_retention`
    in seconds, where they are well.
    """
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
            yield (section, name), NAME_SENTENCE


def _same_ids(sources: Mapping[str, SourceOptions]) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for name, identity in _ids(sources).items():
        first = owners.setdefault(identity, name)
        if first != name:
            yield ("sources", name, "id"), f"{identity!r} is also the id of `{first}`: ids must differ"


def _ids(sources: Mapping[str, SourceOptions]) -> dict[str, str]:
    """The id of each source, by its name, where it is well."""
    return {name: source_id(name, source) for name, source in sources.items() if "id" in known(source)}


def _idle(sources: Mapping[str, SourceOptions]) -> Iterator[Fault]:
    for name, source in sources.items():
        endpoints = known(source).get("endpoints")
        if endpoints is not None and not endpoints.model_fields_set:
            yield ("sources", name, "endpoints"), "names no endpoint, so nothing would be read"


def _transactional_ids(sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    """The broker knows a sender by prefix and sink; two of the same would fence each other without end."""
    owners: dict[str, str] = {}
    for name, sink in sinks.items():
        prefix = known(sink).get("transactional_id_prefix")
        if prefix is None:
            continue
        first = owners.setdefault(f"{prefix}.{name}", name)
        if first != name:
            place = ("sinks", name, "transactional_id_prefix")
            yield place, f"together with the sink's name it is that of `{first}` too: `{prefix}.{name}`"


def _renamed(sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    heirs = defaultdict(list)
    for name, sink in sinks.items():
        if (old := known(sink).get("renamed_from")) is not None:
            heirs[old].append(name)
    for old, names in heirs.items():
        for number, name in enumerate(names):
            place = ("sinks", name, "renamed_from")
            if old == name:
                yield place, "is the sink's own name: write its earlier one, or remove the key"
            elif old in sinks:
                yield place, f"`{old}` is still a sink of its own"
            elif number:
                yield place, f"`{names[0]}` takes over the position of `{old}` already"


def _unknown_sources(sources: Mapping[str, SourceOptions], sinks: Mapping[str, SinkOptions]) -> Iterator[Fault]:
    """A misspelt source in a filter would keep every event back without a word. Nothing is said where an id may still come."""
    ids = _ids(sources)
    if len(ids) < len(sources):
        return
    there = sorted(ids.values())
    for name, sink in sinks.items():
        for number, wanted in enumerate(known(sink).get("sources") or ()):
            if wanted is not None and wanted not in there:
                near = (
                    meant(wanted, there)
                    or f"; there are {', '.join(there[:_SHOWN]) or 'none'}{', …' * (len(there) > _SHOWN)}"
                )
                yield ("sinks", name, "sources", number), f"`{wanted}` is the id of no source{near}"


def _reach(sources: Mapping[str, SourceOptions], horizon: str, length: float) -> Iterator[Fault]:
    """What is forgotten while its row is still polled would be new again."""
    what = {"seen_ttl": "ids must be remembered", "dead_letter_retention": "dead letters must be kept"}[horizon]
    for name, source in sources.items():
        endpoints = known(source).get("endpoints")
        for key, endpoint in known(endpoints).items() if endpoints is not None else ():
            back = _longest(endpoint)
            if back is not None and length < back + MARGIN:
                sentence = f"reaches back {show_duration(back)}, and {what} 2 days longer: "
                sentence += (
                    f"{horizon} is {show_duration(length)}, but at least {show_duration(back + MARGIN)} is needed"
                )
                yield ("sources", name, "endpoints", key, "ladder"), sentence


def _longest(endpoint: EndpointOptions | None) -> float | None:
    """How far the longest rung of an endpoint reaches, in seconds; as far as its rungs are well."""
    rungs = known(endpoint).get("ladder", ()) if endpoint is not None else ()
    return max((known(rung)["back"] for rung in rungs if rung is not None and "back" in known(rung)), default=None)
