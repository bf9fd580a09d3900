"""Runs the program's loop: the same everywhere, so that what is measured is what is deployed."""

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def run(function: Callable[..., Awaitable[T]], *arguments: Any, **keywords: Any) -> T:  # noqa: ANN401 passed on
    """`anyio.run` on uvloop. Collections are rare: pages live briefly, and what stays is frozen."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    return anyio.run(partial(function, *arguments, **keywords), backend="asyncio", backend_options={"use_uvloop": True})
