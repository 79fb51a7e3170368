"""The embedded server on a real machine: started, stopped, killed, raced for and refused."""

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from local_stack import postgres_server
from local_stack.postgres_server import PROGRAMS_VARIABLE, EmbeddedPostgres, EmbeddedPostgresError
from tests.waiting import LIMIT_SECONDS, wait_until

DEBIANS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down to another user")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server that was started and stopped: copying them is faster than creating a cluster per test."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("cluster") / "postgres", durable=False)
    server.start()
    server.stop()
    return server.directory / "data"


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that was never started."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    yield server
    server.reset()


@pytest.fixture
def server(new_server: EmbeddedPostgres, cluster: Path) -> EmbeddedPostgres:
    """A server that has its cluster and is not running."""
    new_server.directory.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", cluster, new_server.directory], check=True)
    return new_server


@pytest.fixture
def durable_server(server: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server with one committed row, which no crash may lose."""
    durable = EmbeddedPostgres(server.directory)
    durable.start()
    keep_a_row(durable)
    return durable


def scalar(server: EmbeddedPostgres, query: bytes) -> object:
    with psycopg.connect(server.admin_dsn()) as conn:
        row = conn.execute(query).fetchone()
        assert row is not None
        return row[0]


def keep_a_row(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.admin_dsn()) as conn:
        conn.execute("CREATE TABLE kept AS SELECT '髙橋﨑' AS name")


def kept_row(server: EmbeddedPostgres) -> object:
    return scalar(server, b"SELECT name FROM kept")


def postmaster_pid(server: EmbeddedPostgres) -> int:
    return int((server.directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def processes(server: EmbeddedPostgres) -> set[int]:
    name = str(scalar(server, b"SHOW cluster_name"))
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if name in " ".join(process.info["cmdline"] or ())
    }


def is_alive(pid: int) -> bool:
    # A zombie has no command line.
    return any(process.pid == pid and process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))


def wait_until_dead(pids: set[int]) -> None:
    wait_until(lambda: not any(map(is_alive, pids)), "the processes end")


def start_in(directory: Path) -> None:
    EmbeddedPostgres(directory, durable=False).start()


def test_start_stop_and_reset_can_each_be_repeated(new_server: EmbeddedPostgres) -> None:
    new_server.stop()
    new_server.reset()
    new_server.start()
    keep_a_row(new_server)
    first_pid = postmaster_pid(new_server)
    new_server.start()
    assert postmaster_pid(new_server) == first_pid

    new_server.stop()
    new_server.stop()
    assert not new_server.is_running()
    new_server.start()
    assert kept_row(new_server) == "髙橋﨑"

    new_server.reset()
    new_server.reset()
    assert not new_server.is_running()
    assert not new_server.directory.exists()


def test_the_chosen_port_is_remembered_by_the_next_start(server: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no port before its first start"):
        _ = server.port
    server.start()
    port = server.port
    server.stop()
    again = EmbeddedPostgres(server.directory, durable=False)
    assert again.port == port
    again.start()
    assert scalar(again, b"SELECT current_setting('port')::int") == port


def test_a_remembered_port_that_was_taken_meanwhile_is_replaced(server: EmbeddedPostgres) -> None:
    server.start()
    port = server.port
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        server.start()
        assert server.port != port
        assert scalar(server, b"SELECT 1") == 1


def test_the_database_speaks_utf8_and_utc_whatever_the_environment_says(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TZ": "Asia/Tokyo", "LC_ALL": "no_SUCH", "PGDATA": "/nowhere", "PGPORT": "1"}.items():
        monkeypatch.setenv(name, value)
    server.start()
    assert scalar(server, b"SHOW server_encoding") == "UTF8"
    assert scalar(server, b"SHOW timezone") == "UTC"
    assert scalar(server, "SELECT upper('é') || lower('Ａ')".encode()) == "Éａ"


def test_only_a_server_for_tests_gives_up_durability(server: EmbeddedPostgres) -> None:
    server.start()
    assert scalar(server, b"SHOW fsync") == "off"
    server.stop()
    durable = EmbeddedPostgres(server.directory)
    durable.start()
    assert scalar(durable, b"SHOW fsync") == "on"


def test_data_survive_when_every_process_of_the_server_is_killed(durable_server: EmbeddedPostgres) -> None:
    server = durable_server
    killed = processes(server)
    # The postmaster first: it would restart its children.
    for pid in sorted(killed, key=lambda pid: pid != postmaster_pid(server)):
        with suppress(ProcessLookupError):  # it has noticed the postmaster's end
            os.kill(pid, signal.SIGKILL)
    wait_until_dead(killed)
    assert not server.is_running()
    server.start()
    assert kept_row(server) == "髙橋﨑"


def test_a_backend_of_a_killed_postmaster_is_ended_before_the_start(
    durable_server: EmbeddedPostgres,
) -> None:
    server = durable_server
    busy = psycopg.connect(server.admin_dsn(), autocommit=True)
    backend = busy.info.backend_pid
    # A stopped process cannot notice its postmaster's death, nor follow a polite request to end.
    os.kill(backend, signal.SIGSTOP)
    postmaster = postmaster_pid(server)
    os.kill(postmaster, signal.SIGKILL)
    wait_until_dead({postmaster})
    assert is_alive(backend)

    server.start()
    assert not is_alive(backend)
    assert kept_row(server) == "髙橋﨑"
    busy.close()


def test_a_stale_process_id_of_another_process_is_no_obstacle(
    durable_server: EmbeddedPostgres,
) -> None:
    server = durable_server
    pid_file = server.directory / "data" / "postmaster.pid"
    socket_lock = server.socket_directory / f".s.PGSQL.{server.port}.lock"
    stale = {file: file.read_text() for file in (pid_file, socket_lock)}
    owner = pid_file.stat()
    postmaster = postmaster_pid(server)
    server.stop()
    # Of the server's own user, since of other users' processes the server itself knows that they are none of its kind.
    somebody = subprocess.Popen(postgres_server.unprivileged(["sleep", "60"]))
    try:
        for file, text in stale.items():
            file.write_text(text.replace(str(postmaster), str(somebody.pid), 1))
            os.chown(file, owner.st_uid, owner.st_gid)
        assert not server.is_running()
        server.start()
        assert kept_row(server) == "髙橋﨑"
        server.stop()
        assert somebody.poll() is None
    finally:
        somebody.kill()
        somebody.wait()


@pytest.mark.slow("creates PostgreSQL servers")
def test_a_cluster_whose_creation_was_interrupted_is_made_anew(new_server: EmbeddedPostgres) -> None:
    half_made = new_server.directory / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    new_server.start()
    assert scalar(new_server, b"SELECT 1") == 1
    assert not half_made.exists()


@pytest.mark.slow("creates PostgreSQL servers")
def test_a_start_killed_while_creating_the_cluster_is_completed_later(
    new_server: EmbeddedPostgres,
) -> None:
    starter = multiprocessing.Process(target=start_in, args=(new_server.directory,))
    starter.start()
    wait_until((new_server.directory / "data.new" / "base").exists, "initdb begins")
    starter.kill()  # its initdb goes on
    starter.join()
    new_server.start()
    assert scalar(new_server, b"SELECT 1") == 1
    assert not (new_server.directory / "data.new").exists()


def test_a_directory_that_is_no_cluster_is_left_alone(new_server: EmbeddedPostgres) -> None:
    precious = new_server.directory / "data" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("chapter 1")
    with pytest.raises(EmbeddedPostgresError, match="is in the way: it is not a PostgreSQL cluster"):
        new_server.start()
    new_server.reset()
    assert precious.read_text() == "chapter 1"


def test_reset_spares_what_the_server_did_not_make(server: EmbeddedPostgres) -> None:
    server.start()
    note = server.directory / "note.txt"
    note.write_text("mine")
    server.reset()
    assert [path.name for path in server.directory.iterdir()] == ["note.txt"]


@pytest.mark.slow("creates PostgreSQL servers")
def test_of_two_concurrent_starts_one_starts_and_the_other_finds_it_running(
    new_server: EmbeddedPostgres,
) -> None:
    starters = [multiprocessing.Process(target=start_in, args=(new_server.directory,)) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert [starter.exitcode for starter in starters] == [0, 0]
    assert scalar(new_server, b"SELECT 1") == 1
    log = (new_server.directory / "postgres.log").read_text()
    assert log.count("starting PostgreSQL") == 1


def test_the_server_outlives_its_starter_and_keeps_no_pipe_open(
    server: EmbeddedPostgres,
) -> None:
    command = f"from {__name__} import *; start_in(Path({str(server.directory)!r}))"
    # Returns only when no process has the pipe open any more.
    started = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert (started.returncode, started.stderr) == (0, "")
    assert os.getsid(postmaster_pid(server)) != os.getsid(0)
    assert scalar(server, b"SELECT 1") == 1


def test_a_running_server_does_not_move_to_another_port(server: EmbeddedPostgres) -> None:
    server.start()
    with pytest.raises(EmbeddedPostgresError, match=f"already runs on port {server.port}: stop it"):
        EmbeddedPostgres(server.directory, 5).start()
    assert server.is_running()


@pytest.mark.parametrize(
    ("port", "reason"), [(70_000, "ports go from 1 to 65535"), (-1, "ports go from 1 to 65535")]
)
def test_an_impossible_port_is_refused_in_one_sentence(tmp_path: Path, port: int, reason: str) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", port)
    with pytest.raises(EmbeddedPostgresError) as error:
        server.start()
    assert str(error.value) == f"Port {port} on 127.0.0.1 cannot be used: {reason}."


def test_a_port_that_is_taken_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            EmbeddedPostgresError, match=f"^Port {port} on 127.0.0.1 cannot be used: another program"
        ):
            EmbeddedPostgres(tmp_path / "postgres", port).start()


def test_a_server_that_cannot_start_quotes_its_log(server: EmbeddedPostgres) -> None:
    server.start()
    with psycopg.connect(server.admin_dsn(), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET shared_preload_libraries = 'no_such_library'")
    server.stop()
    with pytest.raises(EmbeddedPostgresError) as error:
        server.start()
    sentence, *log = str(error.value).splitlines()
    assert sentence == f"The server in {server.directory} ended while starting."
    assert any('could not access file "no_such_library"' in line for line in log)


def test_over_tcp_no_login_works_without_a_password(server: EmbeddedPostgres) -> None:
    server.start()
    with psycopg.connect(server.admin_dsn(), autocommit=True) as conn:
        conn.execute("CREATE ROLE clerk LOGIN PASSWORD 'right'")
    over_tcp = f"host=127.0.0.1 port={server.port} dbname=postgres"
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"{over_tcp} user=postgres passfile=/dev/null")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{over_tcp} user=clerk password=wrong")
    with psycopg.connect(f"{over_tcp} user=clerk password=right") as conn:
        assert conn.execute("SELECT current_user").fetchone() == ("clerk",)


def test_a_deep_directory_gets_a_short_private_socket_directory(tmp_path: Path, cluster: Path) -> None:
    server = EmbeddedPostgres(
        tmp_path / ("deep" * 20) / "with 'quotes', \"commas\" and 髙" / "postgres", durable=False
    )
    server.directory.mkdir(parents=True)
    subprocess.run(["cp", "-a", cluster, server.directory], check=True)
    server.start()
    socket_directory = server.socket_directory
    try:
        assert server.directory not in socket_directory.parents
        assert socket_directory.stat().st_mode & 0o777 == 0o700
        assert scalar(server, b"SELECT 1") == 1
    finally:
        server.reset()
    assert not socket_directory.exists()


def test_a_socket_directory_that_others_may_enter_is_refused(server: EmbeddedPostgres) -> None:
    server.socket_directory.mkdir(parents=True)
    server.socket_directory.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="is not a private directory of this user"):
        server.start()


@pytest.mark.slow("creates PostgreSQL servers")
@needs_root
def test_root_runs_the_server_as_nobody_below_a_closed_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = EmbeddedPostgres.binary("postgres").parents[2]
    # As a strict umask installs it: only root may read the programs.
    subprocess.run(["cp", "-R", package, f"{package}.libs", closed], check=True)
    subprocess.run(["chmod", "-R", "go-rwx", closed], check=True)
    programs = closed / package.name / "pginstall" / "bin"
    monkeypatch.setattr(EmbeddedPostgres, "binary", staticmethod(lambda name: programs / name))

    server = EmbeddedPostgres(closed / "postgres", durable=False)
    server.start()
    try:
        assert scalar(server, b"SELECT 1") == 1
        status = Path(f"/proc/{postmaster_pid(server)}/status").read_text()
        assert f"Uid:\t{postgres_server.UNPRIVILEGED_ID}\t" in status
        assert Path(f"/proc/{postmaster_pid(server)}/exe").readlink() == programs / "postgres"
    finally:
        server.reset()


@needs_root
def test_without_setpriv_the_error_for_root_names_the_package(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EmbeddedPostgresError, match=r"setpriv \(package util-linux\).* is missing"):
        server.start()


@pytest.mark.slow("creates PostgreSQL servers")
@pytest.mark.skipif(not DEBIANS, reason="Debian's package postgresql is not installed")
def test_programs_of_another_installation_make_a_server(
    new_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DEBIANS[-1].parent
    monkeypatch.setenv(PROGRAMS_VARIABLE, str(folder))

    new_server.start()

    assert scalar(new_server, b"SELECT upper('\xc3\xa9')") == "\u00c9"
    assert str(scalar(new_server, b"SHOW server_version")).startswith(f"{folder.parent.name}.")


def test_a_folder_without_the_programs_is_named(
    new_server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRAMS_VARIABLE, str(tmp_path))

    with pytest.raises(EmbeddedPostgresError, match=rf"{tmp_path} \(SKILL_BATCH_SERVER_BIN\) has no program"):
        new_server.start()
