"""No secret of a connection string is in the command line of a PostgreSQL program."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo

from include.skillreport.batches.data_backup.postgres_tools import BackupError, PostgresTools
from include.skillreport.core.errors import ConnectionInvalidError
from include.skillreport.core.execution.program_login import program_login
from tests.conftest import Database
from tests.worlds.backups import BIN, programs

SECRETS = {
    "password": "w0rd-1 'x'",
    "sslpassword": "w0rd-2 =[#",
    "oauth_client_secret": "w0rd-3",
    "scram_client_key": "dzByZC00",
}


@pytest.fixture
def noting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Programs whose pg_dump notes its command line, its password and its service file, and then dumps."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    noted = tmp_path / "noted"
    noted.mkdir()
    script = (
        f"tr '\\0' '\\n' </proc/$$/cmdline >{noted}/arguments\n"
        f'printf %s "$PGPASSWORD" >{noted}/password\n'
        f'[ -z "$PGSERVICEFILE" ] || {{ cat "$PGSERVICEFILE"; stat -Lc %a "$PGSERVICEFILE"; }} >{noted}/service\n'
        f'exec {BIN}/pg_dump "$@"'
    )
    return programs(tmp_path / "bin", script)


def test_secrets_are_in_no_command_line(database: Database, tmp_path: Path, noting: str) -> None:
    dsn = make_conninfo(database.dsn, password=SECRETS["password"], sslpassword=SECRETS["sslpassword"])
    folder = tmp_path / "dump"
    # libpq refuses a service that it does not find, in each process.
    PostgresTools(dsn, noting).run("pg_dump", ["-Fd", "--schema-only", "--jobs=2", f"--file={folder}"])
    assert (folder / "toc.dat").exists()
    noted = {each.name: each.read_text(encoding="utf-8") for each in (tmp_path / "noted").iterdir()}
    assert "service=" in noted["arguments"]
    assert not any(part in noted["arguments"] for part in ("w0rd", "sslpassword"))
    assert noted["password"] == SECRETS["password"]
    assert noted["service"].splitlines() == ["[skill-batch]", f"sslpassword={SECRETS['sslpassword']}", "600"]
    assert {each.name for each in tmp_path.iterdir()} == {"noted", "bin", "dump"}


def test_a_program_that_fails_tells_no_secret(database: Database, noting: str) -> None:
    dsn = make_conninfo(database.dsn, sslpassword=SECRETS["sslpassword"], dbname="none")
    with pytest.raises(BackupError) as failure:
        PostgresTools(dsn, noting).run("pg_dump", ["--schema-only"])
    assert "w0rd" not in str(failure.value)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("form", ["postgresql://me@%2Fnone/d?{}={}", "host=/none dbname=d user=me {}={}"])
def test_libpq_reads_each_secret_that_is_not_in_the_arguments(
    name: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with program_login(form.format(name, "w0rd")) as login:
        assert "w0rd" not in login.conninfo
        for variable in ("PGPASSWORD", "PGSERVICEFILE"):
            if variable in login.environment:
                monkeypatch.setenv(variable, login.environment[variable])
        # As each process of a program.
        for _ in range(2):
            connection = pq.PGconn.connect_start(login.conninfo.encode())
            used = {option.keyword.decode(): option.val for option in connection.info}
            connection.finish()
            assert (used["dbname"], used["user"], used[name]) == (b"d", b"me", b"w0rd")


@pytest.mark.parametrize(
    "parts", [{"service": "own"}, {"sslpassword": "x\nhost=evil"}, {"sslpassword": "x "}]
)
def test_a_secret_that_a_service_file_cannot_have_is_refused(parts: dict[str, str]) -> None:
    dsn = make_conninfo(**{"host": "h", "sslpassword": "w0rd", **parts})
    with pytest.raises(ConnectionInvalidError) as refusal, program_login(dsn):
        pass
    assert "sslpassword" in str(refusal.value)
    assert "w0rd" not in str(refusal.value)
