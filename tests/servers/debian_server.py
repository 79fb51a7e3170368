"""Starts a PostgreSQL server of Debian's packages, which install major versions side by side in ``/usr/lib/postgresql``."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack.ports import free_port
from local_stack.postgres_server import unprivileged

PROGRAMS = Path("/usr/lib/postgresql")


class NotInstalledError(Exception):
    """The server's package is not installed; the message names it."""


def programs_of(major: int) -> Path:
    """The folder of the programs of this major version. :raises NotInstalledError: there is no server in it."""
    folder = PROGRAMS / str(major) / "bin"
    if not (folder / "postgres").is_file():
        raise NotInstalledError(
            f"Debian's package postgresql-{major} is not installed: apt-get install postgresql-{major}"
        )
    return folder


def localised(locale: str, folder: Path) -> dict[str, str]:
    """The environment in which programs find this locale, which is created in the folder. :raises NotInstalledError: it cannot be."""
    localedef = shutil.which("localedef")
    if not localedef or not Path("/usr/share/i18n/locales").is_dir():
        raise NotInstalledError("Debian's package locales is not installed: apt-get install locales")
    language, _, encoding = locale.partition(".")
    folder.mkdir()
    subprocess.run([localedef, "-i", language, "-f", encoding, str(folder / locale)], check=True)
    return {"LOCPATH": str(folder)}


@contextmanager
def debian_server(major: int, messages: str = "") -> Iterator[str]:
    """The URL of a new server of this major version, as its superuser, until the block ends. :raises NotInstalledError: see above.

    ``messages`` is the locale of its messages, for example ``ja_JP.UTF-8``.
    """
    programs, port, password = programs_of(major), free_port(), secrets.token_hex(8)
    folder = Path(tempfile.mkdtemp(prefix=f"postgresql{major}-"))
    data, password_file = folder / "data", folder / "password"
    control = [str(programs / "pg_ctl"), f"--pgdata={data}", "--silent", "--wait"]
    try:
        password_file.write_text(password, encoding="utf-8")
        for path in (folder, password_file):
            path.chmod(0o777)  # its password is random, and root starts the server as another user
        initdb = [str(programs / "initdb"), f"--pgdata={data}", "--username=postgres", "--encoding=UTF8"]
        initdb += ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-sync"]
        environment = dict(os.environ)
        if messages:
            environment |= localised(messages, folder / "locales")
            initdb.append(f"--lc-messages={messages}")
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c max_connections=200"
        for command in (initdb, [*control, f"--log={folder / 'log'}", f"--options={options}", "start"]):
            subprocess.run(
                unprivileged(command), cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
            )
        yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            unprivileged([*control, "--mode=immediate", "stop"]), cwd=folder, check=False, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)
