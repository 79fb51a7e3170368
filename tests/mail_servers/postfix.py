"""A Postfix of Debian's package, on a port of 127.0.0.1, with folders and settings of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from local_stack.ports import free_port
from tests.mail_servers.programs import program
from tests.waiting import wait_until

# The services of Debian's master.cf that these tests need. None of them runs in a chroot.
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# Debian's defaults, and what a private instance needs. No setting weakens a limit: the tests' address is no friend of the server.
_SETTINGS = {
    "compatibility_level": "3.10",
    "maillog_file": "{folder}/log",
    "maillog_file_prefixes": "{folder}",
    "queue_directory": "{folder}/queue",
    "data_directory": "{folder}/data",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "mx.example.test",
    "mydestination": "",
    "mynetworks": "192.0.2.0/24",
    "alias_maps": "",
    "local_recipient_maps": "",
    "local_transport": "error:5.1.1 no local mailboxes",
    "smtp_dns_support_level": "disabled",
    "recipient_delimiter": "+",
}


class Postfix:
    """The running server. ``port`` is that of SMTP."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._etc = folder / "etc"
        for each in ("etc", "queue", "data"):
            (folder / each).mkdir(exist_ok=True)
        shutil.chown(folder / "data", "postfix")
        (self._etc / "master.cf").write_text(_SERVICES.format(port=self.port), encoding="utf-8")
        self._write({name: value.format(folder=folder) for name, value in _SETTINGS.items()} | dict(settings))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._control("start")
        wait_until(lambda: self._answers() or "fatal: " in self.log, "Postfix answers")
        assert "fatal: " not in self.log, self.log

    def stop(self) -> None:
        """Stop it: what is under way ends first."""
        self._control("stop")

    def set(self, **settings: str) -> None:
        """Change settings, and start again: after a reload a process may serve one more connection with the old ones."""
        self.stop()
        if settings:
            self._write(settings)
        self.start()

    def deliver_now(self) -> None:
        """Try everything in the queue again."""
        self._run([program("postqueue"), "-c", str(self._etc), "-f"])

    def queued(self) -> int:
        """How many letters are in the queue."""
        return sum(
            1
            for name in ("incoming", "active", "deferred", "maildrop", "hold")
            for each in (self._folder / "queue" / name).rglob("*")
            if each.is_file()
        )

    @property
    def log(self) -> str:
        """What the server has written into its log."""
        file = self._folder / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            try:
                return connection.recv(4) == b"220 "
            except TimeoutError:
                # With TLS from the first byte, the client speaks first.
                return True
        return False

    def _write(self, settings: Mapping[str, str]) -> None:
        lines = [f"{name}={value}" for name, value in settings.items()]
        (self._etc / "main.cf").touch()
        self._run([program("postconf"), "-c", str(self._etc), "-e", *lines])

    def _control(self, command: str) -> None:
        self._run([program("postfix"), "-c", str(self._etc), command])

    def _run(self, command: Iterable[str]) -> None:
        done = subprocess.run(list(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}{self.log[-3000:]}"


@contextmanager
def postfix(folder: Path, **settings: str) -> Iterator[Postfix]:
    """The server until the block ends. ``settings`` are those of main.cf."""
    server = Postfix(folder, settings)
    try:
        server.start()
        yield server
    finally:
        with suppress(AssertionError):
            server.stop()


def table(rows: Mapping[str, str]) -> str:
    """A table in a setting, such as an alias for each address."""
    return f"inline:{{ {', '.join(f'{{ {key} = {value} }}' for key, value in rows.items())} }}"
