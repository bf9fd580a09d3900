"""The image, built and started without a container engine: debootstrap makes the base, buildah builds, Linux itself starts it.

Needs root. A container is what `Container` makes: namespaces of its own for processes and mounts, the image as a read-only root,
no capability, the image's own user, environment and entry point; the network is the machine's.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cached_wheels import cache

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
"""Its Python is the oldest one that is supported."""
PACKAGES = "python3-venv,python3-pip,ca-certificates"
NEEDED = ("buildah", "debootstrap", "unshare", "setpriv", "chroot", "mount", "tar")
CA = "/run/secrets/ca.pem"
WRITABLE = ("tmp", "run/poller", "var/lib/poller")
"""What the chart mounts something on, too."""

_START = """
set -e
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind -o ro "$config" "$root/etc/poller"
for place in $writable; do mount -t tmpfs -o "mode=0770,uid=$user,gid=$user" tmpfs "$root/$place"; done
mount -t tmpfs tmpfs "$root/dev"
mknod -m 666 "$root/dev/null" c 1 3
mknod -m 666 "$root/dev/urandom" c 1 9
mount -t proc proc "$root/proc"
mount -o remount,ro,bind "$root"
exec env -i "PATH=$PATH" setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \\
  chroot "--userspec=$user:$user" --groups= "$root" "$@"
"""


def missing() -> str:
    """What keeps images from being built here; empty: nothing."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() != 0:
        return "images are built as root only"
    return f"not installed: {', '.join(absent)} (Debian: apt-get install buildah debootstrap)" if absent else ""


def _done(*command: str | Path) -> str:
    """Its output; fails with all that it said."""
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1_500, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"
    return done.stdout


def base() -> Path:
    """An archive of a small system with Python, in the cache; it stands for the image that PYTHON_IMAGE names."""
    place = cache() / f"python-base-{SUITE}.tar"
    if not place.is_file():
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            system, made = Path(folder) / "system", Path(folder) / "base.tar"
            _done("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, system)
            _done(
                "tar", "-C", system, "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "-cf", made, "."
            )
            made.replace(place)  # whole or not at all: another run may be at it
    return place


class Images:
    """Images and containers in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._driver = "overlay"
        try:
            self.buildah("info")
        except AssertionError:  # not on every file system; vfs copies everything each time
            self._driver = "vfs"

    def buildah(self, *words: str | Path) -> str:
        """What it says."""
        where = ("--root", self._folder / "store", "--runroot", self._folder / "run", "--storage-driver", self._driver)
        return _done("buildah", *where, *words).strip()

    def build(self) -> str:
        """The name of the image of this checkout."""
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, base(), "/")
        self.buildah("commit", "--quiet", "--rm", container, "localhost/python-base")
        self.buildah(
            "bud", "--quiet", "--layers=false", *self._secrets(), "--build-arg", "PYTHON_IMAGE=localhost/python-base",
            "--tag", "localhost/poller", ROOT,
        )  # fmt: skip
        return "localhost/poller"

    def _secrets(self) -> list[str]:
        """How this machine's pip reaches its index, for the builds."""
        listed = _done(sys.executable, "-m", "pip", "config", "list")
        found = {
            name.rsplit(".", 1)[1]: value.strip("'")
            for name, _, value in (line.partition("=") for line in listed.splitlines())
        }
        wanted = {
            name: found[name] for name in ("index-url", "extra-index-url", "trusted-host", "cert") if name in found
        }
        words = []
        if "cert" in wanted:
            words += ["--secret", f"id=ca.pem,src={wanted['cert']}"]
            wanted["cert"] = CA
        if wanted:
            conf = self._folder / "pip.conf"
            conf.write_text(
                "\n".join(["[global]", *(f"{name} = {value}" for name, value in wanted.items())]), encoding="utf-8"
            )
            words += ["--secret", f"id=pip.conf,src={conf}"]
        return words

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of itself, by the names of the OCI specification."""
        said: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", image))
        found: dict[str, Any] = said["OCIv1"]["config"]
        return found

    def mounted(self, image: str) -> Path:
        """Its files."""
        return Path(self.buildah("mount", self.buildah("from", "--pull-never", image)))


@contextmanager
def images() -> Iterator[Images]:
    """Nothing is left of them at the end."""
    with tempfile.TemporaryDirectory() as folder:
        made = Images(Path(folder))
        try:
            yield made
        finally:
            made.buildah("rm", "--all")
            made.buildah("rmi", "--all", "--force")


class Container:
    """The image started once; `process` is the one outside, `pid` the program's."""

    def __init__(self, root: Path, said: Mapping[str, Any], etc: Path) -> None:
        self.root = root
        self.said = said
        self.etc = etc
        """What stands at /etc/poller."""

    def command(self, words: Sequence[str] | None, secrets: Mapping[str, str]) -> list[str]:
        """Starts the program with the image's own words, or with these."""
        user = self.said["User"].partition(":")[0]
        values = {"root": self.root, "config": self.etc, "writable": " ".join(WRITABLE), "user": user}
        own = [*self.said["Entrypoint"], *(self.said["Cmd"] if words is None else words)]
        env = [*self.said["Env"], *(f"{name}={value}" for name, value in secrets.items())]
        inside = ["/usr/bin/env", "-C", self.said["WorkingDir"], *env, *own]
        outside = [f"{name}={value}" for name, value in values.items()]
        return [
            "env",
            *outside,
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            _START,
            "start",
            *inside,
        ]

    def run(self, *words: str) -> tuple[int, str]:
        """Another command of the program, to its end: exit code and output."""
        done = subprocess.run(self.command(words, {}), capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def started(self, log: Path, secrets: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Killed at the end, if it still runs."""
        with log.open("wb") as out:
            process = subprocess.Popen(self.command(None, secrets), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.kill()  # and with it what it has started
            process.wait(30)


def program_of(process: subprocess.Popen[bytes]) -> int | None:
    """The process that is number 1 in the container, by its number outside; None before it is there."""
    place = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = place.read_text(encoding="ascii").split() if place.exists() else []
    return int(found[0]) if found else None


def status_of(pid: int) -> dict[str, list[str]]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
