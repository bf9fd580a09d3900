"""The token of a source that needs one: one login in flight, however many requests wait."""

import copy
from collections.abc import Awaitable, Callable
from math import inf

import anyio

from poller.clock import Clock
from poller.errors import PollerError
from poller.protocols import Token
from poller.quantities import show_duration

_MARGIN = 30.0
_FRESH = 60.0


class Credential:
    """Keeps the current token. `log_in` asks the vendor for one; it is bounded by its own deadline."""

    def __init__(self, log_in: Callable[[], Awaitable[Token]], clock: Clock) -> None:
        self._log_in = log_in
        self._clock = clock
        self._lock = anyio.Lock()
        self._token: Token | None = None
        self._replaced_at = -inf
        self._taken: set[str] = set()
        self._finished = 0
        self._failure: PollerError | None = None

    async def get(self, instead_of: Token | None = None) -> Token:
        """The current token, or a new one where it expires soon or is the one that was refused.

        Raises what the login raised; those who waited for a login that failed get its failure and do not ask again.
        """
        if self._usable(instead_of) and self._token is not None:
            return self._token
        finished = self._finished
        async with self._lock:
            if self._usable(instead_of) and self._token is not None:
                return self._token
            if self._finished != finished:  # a login that was in flight ended: its result is ours too
                if self._failure is not None:
                    raise copy.copy(self._failure).with_traceback(None)
                if self._token is not None and self._token is not instead_of:
                    return self._token
            token = await self._renew()
            if instead_of is not None:
                self._replaced_at = self._clock.mono()
            return token

    @property
    def standing(self) -> str:
        """A sentence."""
        if self._failure is not None:
            return f"the last login failed: {self._failure}"
        if self._token is None:
            return "not logged in yet"
        left = self._token.expires - self._clock.now()
        return (
            f"logged in, for {show_duration(round(left))} more"
            if left > 0
            else "logged in; the login has ended, the next poll asks anew"
        )

    def worked(self, token: Token, where: str) -> None:
        """This endpoint took it."""
        if token is self._token:
            self._taken.add(where)

    def replaceable(self, token: Token, where: str) -> bool:
        """Whether a token that an endpoint refused is worth a login: vendors end tokens early, and may do so again and again.

        One that replaced a refused one just now, and that this endpoint never took, lacks rights.
        """
        known = token is self._token and where not in self._taken
        return not known or self._clock.mono() - self._replaced_at >= _FRESH

    def _usable(self, refused: Token | None) -> bool:
        token = self._token
        return token is not None and token is not refused and token.expires - _MARGIN > self._clock.now()

    async def _renew(self) -> Token:
        try:
            self._token = await self._log_in()
        except PollerError as error:
            self._finished += 1
            self._failure = error
            raise
        self._finished += 1
        self._failure = None
        self._taken.clear()
        return self._token
