"""Debian's packages that the tests need, and processes of them that run until a block ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.waiting import wait_until

# The package of each program.
PACKAGES = {
    "postfix": "postfix",
    "dovecot": "dovecot-imapd dovecot-lmtpd dovecot-sieve",
    "postgrey": "postgrey",
    "opendkim": "opendkim",
}

_FOLDERS = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"


def missing(*names: str) -> str:
    """What these programs (default: all) lack, in one sentence; empty: nothing.

    The servers change to accounts of their own, so only root starts them.
    """
    packages = [PACKAGES[name] for name in names or PACKAGES if shutil.which(name, path=_FOLDERS) is None]
    if packages:
        return f"these packages of Debian are not installed: {' '.join(packages)}"
    return "" if os.geteuid() == 0 else "only root starts mail servers"


def program(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name, path=_FOLDERS)
    assert path, f"{name} is not installed"
    return path


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """The process until the block ends. It listens on the port before the block begins."""
    with log.open("wb") as output:
        process = subprocess.Popen(list(command), stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, f"{command[0]} listens")
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        yield
    finally:
        process.terminate()
        process.wait(30)


def listens(port: int) -> bool:
    """Whether something listens on the port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
