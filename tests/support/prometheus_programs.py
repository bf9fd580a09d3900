"""Prometheus and promtool, where they are installed, and the shipped rules with shorter durations."""

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "helm/poller/files/rules.yaml"
DASHBOARDS = ROOT / "helm/poller/files/dashboards"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LITERAL = re.compile(r"(?<=[\[ ])(\d+)([smhd])(?=[\] )\n])|(?<=for: )(\d+)([smhd])|\b(\d+) \* (60)\b")


def program(name: str) -> str:
    """`prometheus` or `promtool`: its path; empty: not installed. POLLER_TEST_PROMETHEUS names a folder."""
    return shutil.which(name, path=os.environ.get("POLLER_TEST_PROMETHEUS")) or shutil.which(name) or ""


def missing() -> str:
    """What keeps them from running here; empty: nothing."""
    absent = [name for name in ("prometheus", "promtool") if not program(name)]
    return f"{' and '.join(absent)} not installed (Debian: apt-get install prometheus)" if absent else ""


def promtool(*words: str, cwd: Path | None = None, text: str | None = None) -> tuple[int, str]:
    """Exit code, and all that it says."""
    done = subprocess.run(
        [program("promtool"), *words], cwd=cwd, input=text, check=False, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def shortened(text: str, factor: int) -> str:
    """Rules whose every duration is divided by the factor: `[1h]`, `offset 1h`, `for: 5m`, `15 * 60`. In milliseconds, so none becomes 0."""

    def shorter(found: re.Match[str]) -> str:
        if found[5]:
            return f"{int(found[5]) * 60 / factor:g}"
        number, unit = (found[1], found[2]) if found[1] else (found[3], found[4])
        return f"{max(1, int(number) * _UNITS[unit] * 1000 // factor)}ms"

    return _LITERAL.sub(shorter, text)
