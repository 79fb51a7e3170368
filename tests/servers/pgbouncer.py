"""Debian's PgBouncer in front of the tests' server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from local_stack.ports import free_port
from local_stack.postgres_server import unprivileged
from tests.conftest import Server
from tests.waiting import wait_until


@contextmanager
def pgbouncer(server: Server, pool_mode: str, passwords: Mapping[str, str], **further: int) -> Iterator[int]:
    """Gives the port. ``pool_mode`` is that of all databases. ``passwords`` has the logins, ``further`` other settings."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    assert program, "PgBouncer is not installed. Install Debian's package pgbouncer."
    folder, port = Path(tempfile.mkdtemp(prefix="pgbouncer-")), free_port()
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": folder / "logins",
        "pool_mode": pool_mode,
        **further,
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    databases = f"[databases]\n* = host={server.host} port={server.port}\n"
    (folder / "pgbouncer.ini").write_text(databases + "[pgbouncer]\n" + "\n".join(lines), encoding="utf-8")
    logins = "".join(f'"{login}" "{password}"\n' for login, password in passwords.items())
    (folder / "logins").write_text(logins, encoding="utf-8")
    folder.chmod(0o755)  # root starts it as another user
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            unprivileged([program, str(folder / "pgbouncer.ini")]), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, "PgBouncer listens")
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
