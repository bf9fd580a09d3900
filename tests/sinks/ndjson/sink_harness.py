"""How the conformance suite builds an ndjson sink, makes it fail, and reads what it has written."""

from pathlib import Path
from typing import Any, Self

from poller.sinks.ndjson import Config, build

needs = "tmp_path"


class Harness:
    def __init__(self, folder: Path, prefix: str, **options: Any) -> None:
        self.path = folder / f"{prefix}.ndjson"
        self.config = Config.model_validate(
            {"kind": "ndjson", "path": str(self.path), "start_from": "earliest", **options}
        )
        self.sink = build("subject", self.config, shards=1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sink.close()

    async def fail(self) -> None:
        """No room on the disk."""
        self.path.symlink_to("/dev/full")

    async def mend(self) -> None:
        self.path.unlink()

    def failed(self, delivery: Any) -> bool:
        return delivery.error is not None

    async def bodies(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()
