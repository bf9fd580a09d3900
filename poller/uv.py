"""Runs the program's loop: the same everywhere, so that what is measured is what is deployed."""

import ctypes
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers of the two settings."""
_KEPT = 16 << 20
_LARGE = 4 << 20


def run(function: Callable[..., Awaitable[T]], *arguments: Any, **keywords: Any) -> T:  # noqa: ANN401 passed on
    """`anyio.run` on uvloop. Collections are rare: pages live briefly, and what stays is frozen."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    _keep_freed_memory()
    return anyio.run(partial(function, *arguments, **keywords), backend="asyncio", backend_options={"use_uvloop": True})


def _keep_freed_memory() -> None:
    """What an answer took is kept for the next one, up to 16 MiB.

    glibc returns large blocks to the system as soon as they are free, and each page of an answer then costs two hundred page
    faults. Another C library is left as it is.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)
