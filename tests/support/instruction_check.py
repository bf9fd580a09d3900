"""Whether a record costs more than 10 % more instructions than was recorded: `make instructions`; with RECORD=1 it records.

Figures hold for one build of Python. Where this is another one, the program as it was when they were recorded is counted beside
the present one. So there is always a comparison, or a failure that says what is missing.
"""

import argparse
import platform
import sqlite3
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec
from instruction_count import WORK, Counted, Counting, Failed
from msgspec import Struct

ROOT = Path(__file__).parents[2]
FIGURES = Path("benchmarks/instructions.json")
MOST = 0.10
"""More than this share above what was recorded is a regression."""
SAME = 0.01
"""By so much the yardstick may differ on what counts as the same machine."""
RECORD = "make instructions RECORD=1"
LIBRARIES = ("aiokafka", "anyio", "cramjam", "h11", "httpcore", "lxml", "msgspec", "uvloop", "zstandard")
"""Those whose code the hot path runs."""


class Figures(Struct):
    """What was recorded, and what it holds for."""

    machine: dict[str, str]
    libraries: dict[str, str]
    counted: Counted


class Verdict(Struct):
    """What is said, and whether the check fails."""

    lines: list[str]
    failed: bool


def machine() -> dict[str, str]:
    """What decides how many instructions the same code takes."""
    valgrind = subprocess.run(["valgrind", "--version"], check=False, capture_output=True, text=True)
    return {
        "python": sys.version,
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "valgrind": valgrind.stdout.strip(),
    }


def libraries() -> dict[str, str]:
    """What is installed."""
    return {name: version(name) for name in LIBRARIES}


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What is not as it was."""
    names = sorted({*before, *now})
    return [
        f"{name}: {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def elsewhere(recorded: Figures, now: Figures) -> list[str]:
    """Why recorded figures do not hold here; empty where they do."""
    why = differing(recorded.machine, now.machine)
    apart = now.counted.yardstick / recorded.counted.yardstick - 1
    if abs(apart) > SAME:
        why.append(f"the yardstick takes {apart:+.1%} instructions here")
    return why


def judge(before: Counted, now: Counted) -> Verdict:
    """Stage by stage. Fails where one takes too many more, where the stages are others, and where what is slow on purpose goes unnoticed."""
    lines, failed = [], False
    for name in sorted({*before.stages, *now.stages}):
        was, took = before.stages.get(name), now.stages.get(name)
        if was is None or took is None:
            lines.append(f"{name}: counted {'now' if was is None else 'before'} only. Record anew: {RECORD}")
            failed = True
            continue
        more = took / was - 1
        said = f"{name}: {took:,} instructions a record, {was:,} before, {more:+.1%}"
        if more > MOST:
            said, failed = f"{said}: MORE THAN {MOST:.0%} MORE. Mend it, or where it is worth it: {RECORD}", True
        elif more < -MOST:
            said += f": better; keep it so: {RECORD}"
        lines.append(said)
    slower = now.planted / now.stages.get("known", now.planted) - 1
    if slower <= MOST:
        lines.append(f"what is slow on purpose shows {slower:+.1%}: this check does not see what it is for")
        failed = True
    return Verdict(lines, failed)


def recorder(root: Path) -> str:
    """The commit that recorded the figures. Raises Failed where the history does not tell."""
    found = _git(root, "log", "-1", "--format=%H", "--", str(FIGURES)).decode().strip()
    if not found:
        raise Failed(f"no commit has recorded {FIGURES}: {RECORD}")
    # A clone without its history shows its oldest commit as the one that brought every file.
    shallow = Path(_git(root, "rev-parse", "--git-path", "shallow").decode().strip())
    if found in (root / shallow).read_text().split() if (root / shallow).exists() else False:
        raise Failed(f"this clone lacks the commit that recorded {FIGURES}: git fetch --unshallow")
    return found


def check_out(root: Path, commit: str, tree: Path) -> None:
    """What that commit had, as far as it is counted."""
    archive = _git(root, "archive", commit, "poller", str(WORK.parent))
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)


def _git(root: Path, *arguments: str) -> bytes:
    try:
        # In a container the checkout may belong to somebody else.
        return subprocess.run(
            ["git", "-c", f"safe.directory={root}", *arguments], cwd=root, check=True, capture_output=True
        ).stdout
    except FileNotFoundError:
        raise Failed("git is needed to find what was recorded") from None
    except subprocess.CalledProcessError as error:
        raise Failed(f"git {arguments[0]}: {error.stderr.decode(errors='replace').strip()}") from None


def load(path: Path) -> Figures:
    """Raises Failed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError) as error:
        raise Failed(f"{path} cannot be read ({error}): {RECORD}") from None


def compare(root: Path) -> Verdict:
    """Counts, and compares with what was recorded, or with the program as it was then."""
    recorded = load(root / FIGURES)
    begun = Counting(root)
    now = Figures(machine(), libraries(), begun.result())
    other = differing(recorded.libraries, now.libraries)
    why = elsewhere(recorded, now)
    if not why:
        verdict = judge(recorded.counted, now.counted)
        return Verdict([*[f"another version than recorded: {each}" for each in other], *verdict.lines], verdict.failed)
    said = [f"the recorded figures do not hold here: {each}" for each in why]
    if other:  # both would run on the new ones, and what those cost would show nowhere
        raise Failed("\n".join([*said, *other, f"the libraries changed since: {RECORD}"]))
    commit = recorder(root)
    with tempfile.TemporaryDirectory() as folder:
        check_out(root, commit, Path(folder))
        before = Counting(Path(folder)).result()
    verdict = judge(before, now.counted)
    return Verdict(
        [*said, f"compared with commit {commit[:12]} instead, counted beside", *verdict.lines], verdict.failed
    )


def record(root: Path) -> Verdict:
    """Writes the figures of now; what changed is said."""
    now = Figures(machine(), libraries(), Counting(root).result())
    lines = [f"{name}: {took:,} instructions a record" for name, took in now.counted.stages.items()]
    path = root / FIGURES
    if path.exists() and not elsewhere(before := load(path), now):
        lines = judge(before.counted, now.counted).lines
    path.write_bytes(msgspec.json.format(msgspec.json.encode(now), indent=2) + b"\n")
    return Verdict([*lines, f"recorded in {FIGURES}: commit it together with what changed the figures"], failed=False)


def main() -> int:
    """The exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", action="store_true")
    options = arguments.parse_args()
    try:
        verdict = record(ROOT) if options.record else compare(ROOT)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(verdict.lines))
    return int(verdict.failed)


if __name__ == "__main__":
    sys.exit(main())
