"""The sketches of real answers (BEHAVIOUR 6), asked for over HTTP from a world that holds what they show: the same tree."""

import json
from datetime import UTC, datetime
from typing import Any, TypeAlias

from lxml import etree
from simulate_asking import asking

from poller.simulate.fonouc import FonoucOptions
from poller.simulate.mor_settings import Login, MorOptions
from poller.simulate.run import Simulation
from poller.simulate.things import State
from poller.simulate.world import WorldOptions

Tree: TypeAlias = tuple[str, str, list[Any]]
STILL = WorldOptions(calls_per_minute=0)
SHOWN = "".join(
    f"<show_{what}>all</show_{what}>"
    for what in ("user", "device", "status", "provider", "hgc", "reseller", "did", "destination")
)
CALLS = f"""<page>
  <pagename>Calls</pagename><language>en</language><error_msg></error_msg>
  <userid>0</userid><username>apiadmin</username><total_calls>2</total_calls><currency>EUR</currency>
  <calls_stat>
    <period><period_start>2024-03-31 02:30:00</period_start><period_end>2024-03-31 05:30:00</period_end></period>{SHOWN}
    <calls>
      <call>
        <calldate2>2024-03-31 04:05:09</calldate2><timezone>GMT +03:00</timezone>
        <clid>"Ona &lt;test&gt;" &lt;37060000011&gt;</clid><destination>Latvia mobile</destination><did></did>
        <dispod>FAILED(34)</dispod><dst>37120000022</dst><nice_billsec>0</nice_billsec><prefix>3712</prefix>
        <provider_name>carrier-a</provider_name><server_id>1</server_id><src>37060000011</src><user>Shop One</user>
        <user_price>0.0</user_price><uniqueid>1711847109.4411</uniqueid>
      </call>
      <call>
        <calldate2>2024-03-31 04:05:09</calldate2><timezone>GMT +03:00</timezone>
        <clid>37060000011</clid><destination>Latvia mobile</destination><did></did>
        <dispod>ANSWERED(16)</dispod><dst>37120000022</dst><nice_billsec>63</nice_billsec><prefix>3712</prefix>
        <provider_name>carrier-b</provider_name><server_id>1</server_id><src>37060000011</src><user>Shop One</user>
        <user_price>0.084</user_price><uniqueid>1711847109.4411</uniqueid>
      </call>
    </calls>
  </calls_stat>
</page>"""
RECORDINGS = """<page><status><recordings>
  <recording><id>9107</id><user_id>12</user_id><dst_user_id>0</dst_user_id><src_device_id>31</src_device_id><dst_device_id>0</dst_device_id>
    <date>2024-03-31 04:05:09 +0300</date><comment></comment><duration>00:01:03</duration>
    <source>37060000011</source><destination>37120000022</destination><size>253440.0</size>
    <mp3_url>http://10.9.8.7/recordings/1711847109.4411.mp3</mp3_url></recording>
  <recording><id>9108</id><user_id>-1</user_id><dst_user_id>14</dst_user_id><src_device_id>7</src_device_id><dst_device_id>2</dst_device_id>
    <date>2024-03-31 04:09:41 +0300</date><comment></comment><duration>00:00:00</duration>
    <source></source><destination></destination><size>0.0</size><mp3_url></mp3_url></recording>
</recordings></status></page>"""
LOCAL_CALLS = """<page><local_calls>
  <call><calldate><date>2024-03-31 09:14:02</date><timezone>GMT +0300</timezone></calldate>
    <originator_device>Front desk</originator_device><originator_caller_id>101</originator_caller_id>
    <orignator_ip></orignator_ip><orignator_channel>Local/104@mor_local-0000001f;2</orignator_channel>
    <terminator_user>Store Room</terminator_user><terminator_device>104 Store</terminator_device><terminator_ip>192.0.2.44</terminator_ip></call>
</local_calls></page>"""


def tree(element: Any) -> Tree:
    return element.tag, (element.text or "").strip(), [tree(child) for child in element]


def fields(element: Any) -> dict[str, Any]:
    """What the world has to hold for an element to be shown."""
    return {child.tag: fields(child) if len(child) else child.text or "" for child in element}


def epoch(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


def test_mor_user_calls() -> None:
    sample = etree.fromstring(CALLS)
    options = MorOptions(version="x8", logins={"apiadmin": Login(0, "admin")})
    start = epoch(2024, 3, 31, 1, 5, 9)
    with asking(Simulation(vendors=("mor",), world=STILL, at=start + 7200, speed=0, mor=options)) as asked:
        for call in sample.iter("call"):
            shown = {name: value for name, value in fields(call).items() if name != "timezone"}
            asked.add(
                "mor.user_calls",
                shown["uniqueid"],
                start,
                State(start, shown),
                user=2,
                callee=0,
                local=shown["calldate2"],
            )
        # 02:30 is winter time, 05:30 summer time: two hours lie between them.
        answer = asked.calls(epoch(2024, 3, 31, 0, 30), epoch(2024, 3, 31, 2, 30), u="apiadmin")
    assert tree(etree.fromstring(answer.content)) == tree(sample)


def test_mor_recordings() -> None:
    sample = etree.fromstring(RECORDINGS)
    start = epoch(2024, 3, 31, 1, 5, 9)
    with asking(Simulation(vendors=("mor",), world=STILL, at=start + 7200, speed=0)) as asked:
        for recording in sample.iter("recording"):
            shown = fields(recording)
            shown["mp3_url"] = f"other:{shown['mp3_url'].rpartition('/')[2]}" if shown["mp3_url"] else ""
            asked.add(
                "mor.recordings",
                shown["id"],
                start,
                State(start, shown),
                user=12,
                local=shown["date"][:19],
                uniqueid="",
            )
        answer = asked.mor("recordings_get", date_from=start - 60, date_till=start + 600)
        empty = asked.mor("recordings_get", date_from=start - 60, date_till=start - 50)
    assert tree(etree.fromstring(answer.content)) == tree(sample)
    none = etree.fromstring("<page><status><error>No Recordings found</error></status></page>")
    assert tree(etree.fromstring(empty.content)) == tree(none)


def test_mor_local_calls() -> None:
    sample = etree.fromstring(LOCAL_CALLS)
    start = epoch(2024, 3, 31, 6, 14, 2)
    with asking(Simulation(vendors=("mor",), world=STILL, at=start + 60, speed=0)) as asked:
        (call,) = sample.iter("call")
        shown = fields(call)
        asked.add("mor.local_calls", "x", start, State(start, shown), user=5, callee=9, local=shown["calldate"]["date"])
        joined = f"{start - 60}{start + 60}9"
        answer = asked.mor(
            "local_calls_get", hashed=joined, **dict[str, Any]({"from": start - 60, "till": start + 60, "s_user": 9})
        )
    assert tree(etree.fromstring(answer.content)) == tree(sample)


CONNECTIONS = json.loads("""{"count": 2, "result": [
 {"date":"2024-10-27 02:31","src":"501000111","dst":"221000222","disposition":"ANSWERED","ticket_id":null,"outbound_result":"",
  "duration":95,"billsec":81,"operator":"trunk1","filename":"infolinia/2024-10-27/2024-10-27_02.31.07-501000111-1729989067.88.ogg",
  "user":"Ewa Testowa","user_login":"e.testowa","connection_id":"1729989067.88","type":"INBOUND","queue_id":4,"topic_id":null,
  "customer_id":77,"disconnected_by":"Customer","transferred_to":null},
 {"date":"2024-10-27 02:31","src":"501000333","dst":"221000222","disposition":"NO ANSWER","ticket_id":null,"outbound_result":"",
  "duration":18,"billsec":0,"operator":"trunk1","filename":"","user":"","user_login":"","connection_id":"1729992660.90","type":"INBOUND",
  "queue_id":4,"topic_id":null,"customer_id":null,"disconnected_by":"","transferred_to":null}]}""")
THULIUM_RECORDINGS = json.loads("""{"count": 1, "result": [
 {"date":"2024-10-27 02:31","created_at":"2024-10-27 02:40","src":"501000111","dst":"","disposition":"ANSWERED","duration":95,"billsec":81,
  "filename":"infolinia/2024-10-27/2024-10-27_02.31.07-501000111-1729989067.88.ogg","user":"Ewa Testowa","connection_id":"1729989067.88",
  "type":"INBOUND"}]}""")


def test_thulium() -> None:
    now = epoch(2024, 10, 27, 6)
    with asking(Simulation(vendors=("thulium",), world=STILL, at=now, speed=0)) as asked:
        for shown in CONNECTIONS["result"]:
            start = int(shown["connection_id"].partition(".")[0])
            asked.add("thulium.connections", shown["connection_id"], start, State(now - 60, shown))
        recording = THULIUM_RECORDINGS["result"][0]
        asked.add("thulium.recordings", recording["filename"], 1729989607, State(now - 60, recording))
        answer = asked.thulium(limit=100, offset=0, date_from="2024-10-27 01:00", date_to="2024-10-27 04:00").json()
        answer["result"].sort(key=lambda row: row["connection_id"])  # the order is nobody's promise
        assert answer == CONNECTIONS
        assert asked.thulium("recordings").json() == THULIUM_RECORDINGS


DOCUMENTED = json.loads("""{"data":[
 {"id":"202402-a1b2c3@198.51.100.9","call_id":"a1b2c3@198.51.100.9","datetime":"2024-02-29 23:58:11 +0000 UTC","timestamp":"63876470291",
  "caller_id_name":"","caller_id_number":"16045550111","callee_id_name":"Desk","callee_id_number":"1204","to":"1204@acme.example",
  "from":"16045550111@198.51.100.9","billing_seconds":"412","hangup_cause":"NORMAL_CLEARING",
  "media_recording_id":"202402-0f9d7c33aa11bb22cc33dd44ee55ff66","recording_filename":"9a7c5e.mp3"},
 {"next_start_key":"63876470703","page_size":1}]}""")
LIVE = json.loads("""{"data":[
 {"id":"202403-zz9@203.0.113.5","call_id":"zz9@203.0.113.5","datetime":"2024-03-01 00:10:00 +0000 UTC","timestamp":1709251800,
  "direction":"Outbound","caller_id_number":"1204","callee_id_number":"+16045550111","duration_seconds":31,"billing_seconds":0,
  "ringing_seconds":31,"hangup_cause":"NO_ANSWER","media_recording_id":"","interaction_id":"63876471000-5a6b7c8d",
  "a_leg":"zz9@203.0.113.5"}],
 "page_size":1,"next_start_key":"63876471031"}""")
FONO_RECORDINGS = json.loads("""{"recordings":[{"_id":"202402-0f9d7c33aa11bb22cc33dd44ee55ff66","call_id":"a1b2c3@198.51.100.9",
 "cdr_id":"202403-a1b2c3@198.51.100.9","caller_id_number":"16045550111","callee_id_number":"1204","direction":"inbound","duration":410,
 "duration_ms":410220,"start":63876470293,"pvt_created":63876470703,"content_type":"audio/mpeg","media_type":"mp3","name":"9a7c5e.mp3",
 "interaction_id":"63876470291-1c2d3e4f","source_type":"kzc_recording","origin":"inbound from offnet to account",
 "_attachments":{"9a7c5e.mp3":{"content_type":"audio/mpeg","length":3281760,"stub":true}}}],
 "next_start_key":"63876470703"}""")
GREGORIAN = 62_167_219_200


def test_fonouc() -> None:
    """Each sample is the first page of two: its key names the row that did not fit."""
    samples = (
        ("data_tail", "/reports/cdrs", DOCUMENTED, DOCUMENTED["data"][0], DOCUMENTED["data"][1]["next_start_key"]),
        ("top", "/reports/cdrs", LIVE, LIVE["data"][0], LIVE["next_start_key"]),
        (
            "top",
            "/reports/recordings",
            FONO_RECORDINGS,
            FONO_RECORDINGS["recordings"][0],
            FONO_RECORDINGS["next_start_key"],
        ),
    )
    for shape, path, sample, record, key in samples:
        second = int(key) - GREGORIAN
        config = Simulation(
            vendors=("fonouc",), world=STILL, at=second + 900, speed=0, fonouc=FonoucOptions(shape=shape)
        )
        with asking(config) as asked:
            endpoint = path.replace("/reports/", "fonouc.")
            asked.add(endpoint, "first", second, State(second, record), id="z", month="202403")
            asked.add(endpoint, "second", second, State(second, {}), id="a", month="202403")
            assert asked.fonouc(path, startDate=second - 60, endDate=second + 60, pageSize=1).json() == sample
