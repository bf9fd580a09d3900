"""What the conformance suite needs to know of the MOR endpoints."""

from mor_support import WINDOW, call_xml, calls_page, mor_endpoint
from source_case import SourceCase

_USER_CALLS = mor_endpoint("user_calls")
_LOCAL_CALLS = mor_endpoint("local_calls")
_RECORDINGS = mor_endpoint("recordings")


def _local(channel: str, device: str) -> str:
    return (
        "<call><calldate><date>2024-03-31 04:14:02</date><timezone>GMT +0300</timezone></calldate>"
        "<originator_device>Front desk</originator_device><originator_caller_id>101</originator_caller_id><orignator_ip></orignator_ip>"
        f"<orignator_channel>{channel}</orignator_channel><terminator_user>Store</terminator_user>"
        f"<terminator_device>{device}</terminator_device><terminator_ip>192.0.2.44</terminator_ip></call>"
    )


def _recording(number: int, duration: str) -> str:
    return (
        f"<recording><id>{number}</id><user_id>12</user_id><date>2024-03-31 04:05:09 +0300</date><comment></comment>"
        f"<duration>{duration}</duration><source>37060000011</source><destination>37120000022</destination>"
        "<size>253440.0</size><mp3_url></mp3_url></recording>"
    )


CASES = [
    SourceCase(
        name="mor.user_calls",
        endpoint=_USER_CALLS,
        window=WINDOW,
        ask=_USER_CALLS.asks[0],
        page=calls_page(call_xml() + call_xml(uniqueid="1711847110.4412", calldate2="2024-03-31 04:05:10")),
        empty=calls_page(""),
        declared={
            "calldate2": "2024-03-31 04:05:12",
            "src": "37060000012",
            "dst": "37120000023",
            "dispod": "ANSWERED(17)",
            "provider_name": "carrier-z",
            "server_id": "2",
            "nice_billsec": "64",
        },
        undeclared={
            "user_price": "9.99",
            "provider_price": "1.0",
            "timezone": "GMT +02:00",
            "clid": "x",
            "did": "5",
            "new": "",
        },
        required=frozenset({"calldate2"}),
    ),
    SourceCase(
        name="mor.local_calls",
        endpoint=_LOCAL_CALLS,
        window=WINDOW,
        ask=_LOCAL_CALLS.asks[0],
        page=f"<page><local_calls>{_local('SIP/1018-00000008', '104')}{_local('SIP/1019-00000009', '105')}</local_calls></page>".encode(),
        empty=b"<page><local_calls></local_calls></page>",
        declared={},
        undeclared={"terminator_ip": "192.0.2.1", "orignator_ip": "192.0.2.2", "terminator_user": "Other", "new": "1"},
        required=frozenset({"calldate"}),
    ),
    SourceCase(
        name="mor.recordings",
        endpoint=_RECORDINGS,
        window=WINDOW,
        ask=_RECORDINGS.asks[0],
        page=f"<page><status><recordings>{_recording(9107, '00:01:03')}{_recording(9108, '00:00:05')}</recordings></status>".encode(),
        empty=b"<page><status><error>No Recordings found</error></status></page>",
        declared={"source": "1", "destination": "2", "user_id": "-1", "duration": "00:01:04", "size": "0.0"},
        undeclared={"comment": "hello", "mp3_url": "/recordings/a.mp3", "dst_user_id": "4"},
        required=frozenset({"id", "date"}),
    ),
]
