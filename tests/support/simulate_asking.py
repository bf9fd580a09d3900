"""Asks the simulated vendors over real HTTP, as their documents say, with code of its own."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from poller.simulate.run import Simulation, Simulators, simulators
from poller.simulate.things import Kind, Row, State

NOON = 1_710_504_000
"""2024-03-15 12:00:00 UTC, a winter Friday for both zones."""


@dataclass
class Asking:
    """Simulators that run in another thread, and an HTTP client."""

    sims: Simulators
    http: httpx.Client
    _token: str = field(default="", init=False)

    def mor(
        self, method: str = "user_calls_get", *, hashed: str = "", verb: str = "POST", **parameters: Any
    ) -> httpx.Response:
        """`hashed`: the values that the client joins before the secret."""
        options = self.sims.config.mor
        sent = {"u": "admin", **{name: str(value) for name, value in parameters.items()}}
        sent.setdefault("hash", hashlib.sha1(f"{hashed}{options.secret}".encode()).hexdigest())
        url = f"{self.sims.url('mor')}/{method}"
        return self.http.get(url, params=sent) if verb == "GET" else self.http.post(url, data=sent)

    def calls(self, begin: int, end: int, **more: Any) -> httpx.Response:
        """user_calls_get of a window."""
        return self.mor(hashed=f"{begin}{end}{more.get('s_user', '')}", period_start=begin, period_end=end, **more)

    def thulium(
        self, method: str = "connections", *, auth: tuple[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """Any method of Thulium's API."""
        options = self.sims.config.thulium
        params = {name: str(value) for name, value in query.items()}
        return self.http.get(
            f"{self.sims.url('thulium')}/{method}", params=params, auth=auth or (options.username, options.password)
        )

    def login(self, **changed: str) -> httpx.Response:
        """A login at FonoUC."""
        options = self.sims.config.fonouc
        body = {"username": options.username, "password": options.password, "domain": options.domain, **changed}
        return self.http.post(self.sims.root("fonouc") + options.login_path, json=body)

    def fonouc(
        self, path: str = "/reports/cdrs", *, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """Any path of FonoUC's API, with a token that is got once."""
        options = self.sims.config.fonouc
        if not self._token:
            self._token = self.login().json()[options.token_field]
        usual = {"Authorization": f"Bearer {self._token}", "X-Account-ID": options.account_id}
        params = {name: str(value) for name, value in query.items()}
        return self.http.get(self.sims.url("fonouc") + path, params=params, headers=usual | (headers or {}))

    def add(self, endpoint: str, thing: str, own_time: int, *states: State, **place: Any) -> None:
        """Puts a row of the test's own into the world."""
        kind: Kind = "recording" if endpoint.endswith("recordings") else "call"
        self.sims.world.add(Row(endpoint, kind, thing, own_time, list(states), place=place))


@contextlib.contextmanager
def asking(config: Simulation) -> Iterator[Asking]:
    """Runs the simulators for the time of the block; nothing of them may have crashed at its end."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(simulators(config)) as sims,
    ):
        asked = Asking(sims, httpx.Client(timeout=60, verify=False))
        yield asked
        asked.http.close()
        assert {vendor: site.crashes for vendor, site in sims.sites.items() if site.crashes} == {}
