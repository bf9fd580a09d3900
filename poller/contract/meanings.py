"""What every field of an event means: the one place that schemas, the AsyncAPI document and docs/events.md take it from."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Meaning(Struct, frozen=True):
    """Of one field: a sentence, values as they occur, and what JSON Schema can say beyond the field's type."""

    text: str
    examples: tuple[Any, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    required: bool | None = None
    """Whether it is always there; None: as the struct says. A field added to a published version never is required."""


class Shape(Struct, frozen=True):
    """Of one struct."""

    text: str
    fields: Mapping[str, Meaning]


_TEXT = {"minLength": 1}
_DECIMAL = {"pattern": r"^-?[0-9]{1,20}(\.[0-9]{1,20})?$"}
_HASH = {"pattern": "^[0-9a-f]{32}$"}

_IDS = {
    "uniqueid": Meaning("The call's `uniqueid`, where the vendor gives one (MOR).", ("1711847109.4411",)),
    "connection_id": Meaning("The call's `connection_id`, where the vendor gives one (Thulium).", ("1729989067.88",)),
    "call_id": Meaning("The leg's `call_id`, where the vendor gives one (FonoUC).", ("2f6e1c@198.51.100.9",)),
    "cdr_id": Meaning("The id of the call's own record, where the vendor gives one (FonoUC).", ("202402-2f6e1c",)),
    "interaction_id": Meaning(
        "What the legs of one conversation have in common, where the vendor says so (FonoUC).",
        ("63876470291-1c2d3e4f",),
    ),
}
_REVISION = Meaning(
    "How many states of it have been seen, this one included: 1 in a `new` event. The larger one is the later one.",
    (1, 2),
    {"minimum": 1},
)
_LATE = Meaning("Whether it appeared in a span that had been complete: read again what was summed up for that span.")
_STARTED = Meaning("When the call began, UTC; null where nothing sane tells.", ("2024-03-31T01:05:09Z",))
_FROM = Meaning("Who called.")
_TO = Meaning("Who was called.")
_DURATION = Meaning("The whole length in seconds, as the vendor counts it.", (95.0,))
_VENDOR = Meaning(
    "The vendor's record, every field as it came. Null where only a call has named the recording; absent where the sink "
    "is configured with `vendor: omit` (a webhook's default) or `mask_numbers`.",
    more={"type": ["object", "null"]},
    required=False,
)

MEANINGS: dict[str, Shape] = {
    "Party": Shape(
        "One side of a call.",
        {
            "number": Meaning(
                "The number, as the vendor writes it; null where it is unknown or withheld. A sink with `mask_numbers` shows "
                "the last three digits only, here and wherever else a number stands.",
                ("37060000011", "101", "*******111"),
            ),
            "name": Meaning("The name shown with it.", ("Front desk",)),
        },
    ),
    "Cost": Shape(
        "What the call cost the account that poller asks with.",
        {
            "amount": Meaning("A decimal number as text, with the vendor's own precision.", ("0.2327",), _DECIMAL),
            "currency": Meaning("The currency, where the vendor names one, as the vendor writes it.", ("EUR",)),
        },
    ),
    "RecordingRef": Shape(
        "A recording that a call's record names.",
        {
            "recording_id": Meaning("The `recording_id` and `subject` of the recording's own events.", ("202402-r1",)),
            "filename": Meaning("The name of the file, where the call's record says it.", ("9a7c5e.mp3",)),
        },
    ),
    "CallData": Shape(
        "A call in one state: the whole of what is known of it, not a difference. What is not known is null.",
        {
            **_IDS,
            "revision": _REVISION,
            "late": _LATE,
            "started_at": _STARTED,
            "started_at_precision": Meaning(
                "How exactly `started_at` is known. `hour`: the local time lies in the hour that a clock change doubles, and "
                "nothing tells which one."
            ),
            "ended_at": Meaning("When it ended, UTC.", ("2024-03-31T01:06:44Z",)),
            "direction": Meaning("Seen from the phone system; null where the vendor does not say."),
            "disposition": Meaning("What became of the call; `unknown` where the vendor's word for it is not known."),
            "hangup_cause": Meaning("The cause of its end, by its name in Q.850.", ("NORMAL_CLEARING",)),
            "q850_cause": Meaning("The number of that cause.", (16,), {"minimum": 0, "maximum": 127}),
            "from": _FROM,
            "to": _TO,
            "duration_seconds": _DURATION,
            "billable_seconds": Meaning("The part that is talked and billed, in seconds.", (81.0,)),
            "ringing_seconds": Meaning("The part before the answer, in seconds.", (14.0,)),
            "agent": Meaning("Who took or made the call in the vendor's call centre.", ("Ewa Testowa",)),
            "queue": Meaning("The queue that it went through, by name or number.", ("4",)),
            "cost": Meaning(
                "The price; null where the vendor shows none, and where the sink is configured with `vendor: omit` (a webhook's "
                "default)."
            ),
            "recordings": Meaning("The recordings that its record names; may be empty though there are recordings."),
            "vendor": _VENDOR,
        },
    ),
    "RecordingData": Shape(
        "A recording in one state: the whole of what is known of it, not a difference. What is not known is null.",
        {
            "recording_id": Meaning("The vendor's id of the recording.", ("9107", "202402-r1"), _TEXT),
            "revision": _REVISION,
            "partial": Meaning(
                "Whether so far only a call has named it. An `updated` event with all that is known follows when the list of "
                "recordings is read and shows it."
            ),
            "late": _LATE,
            **_IDS,
            "started_at": Meaning(
                "When the call or the recording began, UTC; null where nothing sane tells.", ("2024-03-31T01:05:09Z",)
            ),
            "created_at": Meaning("When the file was made, UTC, where the vendor says so.", ("2024-03-31T01:07:00Z",)),
            "duration_seconds": _DURATION,
            "size_bytes": Meaning("The size of the file.", (253440,)),
            "content_type": Meaning("The type of the file, as said or by its name.", ("audio/mpeg", "audio/wav")),
            "filename": Meaning("The name of the file.", ("9a7c5e.mp3",)),
            "from": _FROM,
            "to": _TO,
            "media_url": Meaning(
                "Where the file is, for who has the vendor's credentials (`poller recording fetch` has them).",
                ("https://pbx.example/recordings/1711847109.4411.mp3",),
                {"format": "uri"},
            ),
            "vendor": _VENDOR,
        },
    ),
    "WindowData": Shape(
        "An hour of one list of which everything has been seen that is not later than the list's longest rung reaches back.",
        {
            "source": Meaning("The configured source: its `id`.", ("mor-main",)),
            "endpoint": Meaning("The list.", ("mor.user_calls",)),
            "kind": Meaning("What the list is of: its events are `telephony.call.*` or `telephony.recording.*`."),
            "from": Meaning("Where the hour begins, UTC. It is part of it.", ("2024-03-31T01:00:00Z",)),
            "until": Meaning("Where it ends, UTC. It is not part of it.", ("2024-03-31T02:00:00Z",)),
            "counts": Meaning(
                "What became of the list's records of this hour, by the time that the vendor filters by. Null where that is not "
                "known: the list does not show this time (fonouc.cdrs), or the hour began before it was counted."
            ),
            "late_by_seconds": Meaning(
                "How long after its own time the latest of them was seen, of those that appeared where had been read before; null "
                "where there was none, and where nothing was counted.",
                (4200.0,),
            ),
        },
    ),
    "WindowCounts": Shape(
        "Records by what became of them. `new` and `updated` are events; the others are as often as they were read.",
        {
            "new": Meaning("Things that were published as new.", (12,), {"minimum": 0}),
            "updated": Meaning("Further states of things that were published.", (1,), {"minimum": 0}),
            "duplicate": Meaning("Records that were known when they were read again.", (340,), {"minimum": 0}),
            "invalid": Meaning(
                "Records that were not understood although their time was: they are dead letters, and once they are tried again "
                "with success their events say `late: true`.",
                (0,),
                {"minimum": 0},
            ),
        },
    ),
    "CloudEvent": Shape(
        "A CloudEvent 1.0 in structured JSON.",
        {
            "specversion": Meaning("The version of CloudEvents.", more={"const": "1.0"}),
            "id": Meaning(
                "Identifies the event: the same thing in the same state has the same `id` for ever, in every sink, after "
                "every crash and retry. Drop an `id` that you have seen.",
                ("fd8cd3454cd9f525c3e47e9e882f0e34",),
                _HASH,
            ),
            "source": Meaning("The configured source and the kind of thing."),
            "type": Meaning("`new`: an id not seen before in this source. `updated`: a known id in a state not seen before."),
            "datacontenttype": Meaning("The format of `data`.", more={"const": "application/json"}),
            "dataschema": Meaning("Names the schema of `data`, with its major version."),
            "partitionkey": Meaning(
                "The call's id, so that a call and its recordings share a partition; the recording's own where it knows no call.",
                ("1711847109.4411",),
                _TEXT,
            ),
            "recordedtime": Meaning(
                "When poller first saw it, UTC.", ("2024-03-31T01:08:00.123Z",), {"format": "date-time"}
            ),
            "sequence": Meaning(
                "The place in poller's log, zero-padded: compare as text. It grows, with gaps.",
                ("00000000000000006232",),
                {"pattern": "^[0-9]{20,}$"},
            ),
            "data": Meaning("The call, recording or hour itself."),
            "subject": Meaning(
                "The vendor's id of the thing; composed of other fields where the vendor gives none.",
                ("1711847109.4411",),
                _TEXT,
                required=True,
            ),
            "time": Meaning(
                "When the call or recording began, UTC; absent where the vendor shows no sane date.",
                ("2024-03-31T01:05:09Z",),
                {"format": "date-time"},
            ),
            "dataref": Meaning(
                "The same as `data.media_url`; absent where that is null.",
                ("https://pbx.example/recordings/1711847109.4411.mp3",),
                {"format": "uri"},
            ),
        },
    ),
}  # fmt: skip

WINDOWS = {
    "partitionkey": ("The source and the list, so that its hours come in order.", "mor-main/mor.user_calls"),
    "recordedtime": ("When the hour was found whole, UTC.", "2024-03-31T08:00:05.123Z"),
    "subject": ("The list.", "mor.user_calls"),
    "time": ("The same as `data.from`.", "2024-03-31T01:00:00Z"),
}
"""What the attributes of a window's event mean, where that is not what a call's or recording's say."""
