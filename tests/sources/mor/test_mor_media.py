"""Where files of recordings may be fetched from."""

import pytest
from mor_support import mor_config

from poller.errors import Denied, Refused
from poller.protocols import Media
from poller.sources.mor import build

FOUND = (
    b"<page><status><recordings>"
    b"<recording><id>8</id><size>5.0</size><mp3_url>/recordings/other.mp3</mp3_url></recording>"
    b"<recording><id>9</id><size>2048.0</size><mp3_url>/recordings/now.mp3</mp3_url></recording>"
    b"</recordings></status></page>"
)


def media(**keys: object) -> Media:
    found = build("mor-main", mor_config({"recordings": {}}, **keys)).media
    assert found is not None
    return found


def test_find_asks_by_uniqueid() -> None:
    """The list knows no filter by a recording's id."""
    request = media().find("9", {"uniqueid": "1711847109.4411"})
    assert request is not None
    assert (request.path, dict(request.form or ())["uniqueid"]) == ("recordings_get", "1711847109.4411")
    assert "date_from" not in dict(request.form or ())
    assert media().find("9", None) is None
    assert media().find("9", {"uniqueid": None}) is None


def test_candidates_newest_first() -> None:
    """What the list shows now, what the event said, and the usual place; each once, with the size that is known."""
    known = {
        "uniqueid": "1711847109.4411",
        "media_url": "https://mor.example/billing/recordings/1711847109.4411.mp3",
        "size_bytes": 7,
    }
    files = media().files("9", known, FOUND)
    assert [(file.request.path, file.size) for file in files] == [
        ("https://mor.example/recordings/now.mp3", 2048),
        ("https://mor.example/billing/recordings/1711847109.4411.mp3", 7),
    ]


def test_usual_place_when_no_address_is_shown() -> None:
    """X8 shows none."""
    (file,) = media().files(
        "9", {"uniqueid": "1711847109.4411", "media_url": None}, b"<error>No Recordings found</error>"
    )
    assert file.request.path == "https://mor.example/billing/recordings/1711847109.4411.mp3"
    assert file.size is None


@pytest.mark.parametrize(
    "url",
    [
        "http://10.9.8.7/recordings/a.mp3",
        "http://127.0.0.1:5984/a.mp3",
        "http://localhost/a.mp3",
        "http://mor.example@10.0.0.1/a",
        "http://169.254.169.254/latest",
    ],
)
def test_other_hosts_are_not_fetched_unless_configured(url: str) -> None:
    """An address inside somebody's network is only fetched when the configuration names its host."""
    with pytest.raises(Refused, match="media_hosts"):
        media().files("9", {"media_url": url}, None)
    (file,) = media(media_hosts=["10.9.8.7", "127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254"]).files(
        "9", {"media_url": url}, None
    )
    assert file.request.path == url


def test_no_address_at_all() -> None:
    """A sentence and no crash."""
    with pytest.raises(Refused, match="shows no address"):
        media().files("9", None, None)
    with pytest.raises(Refused, match="shows no address"):
        media().files("9", {"media_url": "ftp://mor.example/a"}, None)


def test_a_refusal_is_passed_on() -> None:
    """The search was denied: said in the vendor's words."""
    with pytest.raises(Denied):
        media().files("9", {"uniqueid": "1.1"}, b"<status><error>Incorrect hash</error></status>")
