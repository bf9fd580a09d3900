"""Memory for a MOR answer of very many calls, about 700 bytes each: read, deduped, stored and published to a file.

.venv/bin/python benchmarks/bench_memory.py [--records 1000000]
"""

import argparse
import sys
import tempfile
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from e2e_memory import measure


def main() -> None:
    """Prints idle and peak; exits 1 above 150 MiB over idle."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        memory = anyio.run(measure, Path(folder), records, 1800.0)
    over = memory.peak - memory.idle
    print(
        f"{records} calls in one answer, {memory.seconds:.0f} s: idle {memory.idle:.0f} MiB, at most {over:.0f} MiB above"
    )
    raise SystemExit(over >= 150)


if __name__ == "__main__":
    main()
