"""The connection string: what is shown of it."""

import pytest

from poller.errors import StoreRefused
from poller.stores.postgres import Config
from poller.stores.postgres.dsn import Dsn


def dsn(text: str) -> Dsn:
    return Dsn(Config.model_validate({"dsn": text}, context={"literals": True}))


@pytest.mark.parametrize("password", ["hunter2@tail", "tail/hunter2", "hunter2@a/tail", "a@b@tail"])
def test_a_password_with_reserved_characters_is_not_taken_for_a_host_or_a_database(password: str) -> None:
    with pytest.raises(StoreRefused, match="as %XX") as caught:
        dsn(f"postgresql://user:{password}@here/calls")
    assert "tail" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:hunter%402%2Ftail@here:5432/calls?sslmode=require", "calls at here"),
        ("postgres://user@one,two/calls", "calls at one,two"),
        ("postgresql:///calls?host=/run/postgresql&user=a@b", "calls at /run/postgresql"),
        ("host=here dbname=calls user=a@b password='hunter2@tail / more'", "calls at here"),
        ("user=calls", "calls at the local socket"),
    ],
)
def test_database_and_host_are_shown_and_nothing_else(text: str, shown: str) -> None:
    found = dsn(text)
    assert found.shown == shown
    assert repr(found) == f"<Dsn {shown}>"
