"""How the conformance suite builds an ndjson sink and reads what it has written."""

from pathlib import Path
from typing import Any

from poller.sinks.ndjson import Config, build

needs = "tmp_path"


class Harness:
    def __init__(self, folder: Path, prefix: str, **options: Any) -> None:
        self.path = folder / f"{prefix}.ndjson"
        self.sink = build(
            "subject", Config.model_validate({"kind": "ndjson", "path": str(self.path), **options}), shards=1
        )

    async def bodies(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()
