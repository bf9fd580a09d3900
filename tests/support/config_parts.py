"""Parts of a configuration that many tests write alike. Nothing of the program is imported here: some put models in its place first."""

from collections.abc import Iterable
from typing import Any

HOOK_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""What the environment has as `KEY`: the key that Standard Webhooks shows in its examples."""


def ladder(rungs: Iterable[tuple[float, float]]) -> list[dict[str, str]]:
    """Of (back, every) in seconds; the first rung is each poll's."""
    return [
        {"back": f"{back:g}s", "every": f"{every:g}s" if number else "poll"}
        for number, (back, every) in enumerate(rungs)
    ]


def webhook(url: str, **more: Any) -> dict[str, Any]:
    """A sink that calls this machine, signed with `KEY`, from the first event on."""
    return {
        "kind": "webhook", "url": url, "secrets": [{"env": "KEY"}], "allow": ["127.0.0.0/8"], "allow_http": True,
        "start_from": "earliest", **more,
    }  # fmt: skip
