"""Errors after which a retry may help, errors that one tenant's rows can cause, and their texts: against a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import errors

from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.database import count_of
from include.skillreport.core.errors import (
    BatchError,
    ConnectionMissingError,
    DatabaseUnavailableError,
    ParameterError,
    SchemaError,
    SettingsError,
    code_of,
    is_about_data,
    is_recoverable,
    reason_of,
)
from include.skillreport.core.failure_kinds import kind_of
from tests.conftest import Server
from tests.waiting import wait_until

# A tenant's name, standing for whatever a row holds that no log may show.
SECRET = "山田商事"


@pytest.fixture
def connection(server: Server) -> Iterator[psycopg.Connection]:
    """A connection with a separate table, which is deleted with it."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as opened:
        opened.execute(
            "CREATE TEMPORARY TABLE known (name text PRIMARY KEY, amount integer CHECK (amount > 0))"
        )
        opened.execute("INSERT INTO known VALUES (%s, 1)", [SECRET])
        yield opened


@pytest.mark.parametrize(
    ("statement", "sqlstate", "recoverable", "about_data"),
    [
        # One tenant's rows can do this.
        ("SELECT 2147483647 + 1", "22003", False, True),
        ("SELECT 1 / 0", "22012", False, True),
        ("SELECT 'x'::integer", "22P02", False, True),
        ("SELECT '2026-02-30'::date", "22008", False, True),
        ("SELECT (SELECT generate_series(1, 2))", "21000", False, True),
        ("INSERT INTO known VALUES (NULL, 1)", "23502", False, True),
        (f"INSERT INTO known VALUES ('{SECRET}', 1)", "23505", False, True),
        ("INSERT INTO known VALUES ('x', 0)", "23514", False, True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no such plan'; END $$", "P0001", False, True),
        # These errors concern all tenants, and last until an operator acts.
        ("SELECT FROM nowhere", "42P01", False, False),
        ("SELECT nothing FROM known", "42703", False, False),
        ("SELEKT", "42601", False, False),
        ("SET ROLE pg_monitor; SELECT FROM pg_authid", "42501", False, False),
        ("SET statement_timeout = 1; SELECT pg_sleep(10)", "57014", False, False),
        # These concern everybody, and pass.
        ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", "53300", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", "53100", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", "40001", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", "08006", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$", "57P03", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '57P05'; END $$", "57P05", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '25P03'; END $$", "25P03", True, False),
        ("DO $$ BEGIN RAISE SQLSTATE '25P04'; END $$", "25P04", True, False),
    ],
)
def test_the_servers_sqlstate_decides_about_the_retry_and_the_cause(
    connection: psycopg.Connection, statement: str, sqlstate: str, recoverable: bool, about_data: bool
) -> None:
    error = _raised(lambda: connection.execute(statement.encode()))

    assert (code_of(error), is_recoverable(error), is_about_data(error)) == (
        sqlstate,
        recoverable,
        about_data,
    )
    assert reason_of(error).endswith(f"、SQLSTATE {sqlstate}）")


def test_a_deadlock_is_recoverable_and_not_about_data(server: Server) -> None:
    with (
        psycopg.connect(server.dsn("postgres")) as one,
        psycopg.connect(server.dsn("postgres")) as other,
    ):
        for connection in (one, other):
            connection.execute("SET deadlock_timeout = '10ms'")
        one.execute("SELECT pg_advisory_xact_lock(7001)")
        other.execute("SELECT pg_advisory_xact_lock(7002)")
        raised: list[Exception] = []

        def cross(connection: psycopg.Connection, key: int) -> None:
            try:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [key])
            except psycopg.Error as error:
                raised.append(error)
                connection.rollback()

        thread = threading.Thread(target=cross, args=(one, 7002))
        thread.start()
        cross(other, 7001)
        thread.join()

    (error,) = raised
    assert (code_of(error), is_recoverable(error), is_about_data(error)) == ("40P01", True, False)


def test_a_lock_that_is_not_to_be_had_passes(server: Server, connection: psycopg.Connection) -> None:
    with psycopg.connect(server.dsn("postgres")) as other:
        other.execute("SELECT pg_advisory_xact_lock(7003)")
        connection.execute("SET lock_timeout = '10ms'")
        error = _raised(lambda: connection.execute("SELECT pg_advisory_lock(7003)"))

    assert (code_of(error), is_recoverable(error), is_about_data(error)) == ("55P03", True, False)


@pytest.mark.parametrize(
    ("setting", "before"),
    [
        ("idle_in_transaction_session_timeout", "BEGIN"),
        ("idle_session_timeout", "SELECT 1"),
        ("transaction_timeout", "BEGIN"),
    ],
)
def test_a_session_that_the_servers_limit_ends_is_recoverable_and_named(
    server: Server, connection: psycopg.Connection, setting: str, before: str
) -> None:
    has_limit = connection.execute("SELECT current_setting(%s, true) IS NOT NULL", [setting]).fetchone()
    if has_limit == (False,):
        pytest.skip(f"the server has no {setting}")
    pid = connection.info.backend_pid
    connection.execute(f"SET {setting} = 50".encode())
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as other:
        connection.execute(before.encode())
        wait_until(
            lambda: count_of(other, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]) == 0,
            "the server ends the session",
        )
    error = _raised(lambda: connection.execute("SELECT 1"))

    assert (is_recoverable(error), is_about_data(error)) == (True, False)
    assert reason_of(error).startswith(f"データベースの制限時間（{setting}）が接続を切りました（")
    assert kind_of(DATA_BACKUP, error).name == "unreachable"


def test_a_lost_connection_is_recoverable_at_and_after_the_break(
    server: Server, connection: psycopg.Connection
) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])

    breaking = _raised(lambda: connection.execute("SELECT 1"))
    afterwards = _raised(lambda: connection.execute("SELECT 1"))

    assert isinstance(breaking, errors.AdminShutdown)
    assert isinstance(afterwards, psycopg.OperationalError)
    assert [(is_recoverable(error), is_about_data(error)) for error in (breaking, afterwards)] == [
        (True, False)
    ] * 2
    assert reason_of(afterwards) == "the connection is closed"
    assert code_of(afterwards) == "OperationalError"


def test_a_server_that_does_not_answer_passes() -> None:
    error = _raised(lambda: psycopg.connect("host=127.0.0.1 port=1 dbname=postgres"))
    assert (is_recoverable(error), is_about_data(error)) == (True, False)
    assert "\n" not in reason_of(error)


@pytest.mark.parametrize("value", ["'infinity'::timestamp", "'12026-01-01'::date", "'4713-01-01 BC'::date"])
def test_a_row_that_the_driver_cannot_read_is_one_tenants(connection: psycopg.Connection, value: str) -> None:
    error = _raised(lambda: connection.execute(f"SELECT {value}".encode()).fetchall())
    assert isinstance(error, psycopg.DataError)
    assert (is_recoverable(error), is_about_data(error)) == (False, True)


@pytest.mark.parametrize(
    ("error", "recoverable", "about_data"),
    [
        (ParameterError("x"), False, False),
        (SchemaError("x"), False, False),
        (SettingsError("x"), False, False),
        (ConnectionMissingError("x"), False, False),
        (DatabaseUnavailableError("x"), True, False),
        (ConnectionResetError("x"), True, False),
        (TimeoutError("x"), True, False),
        (FileNotFoundError("x"), False, False),
        (MemoryError(), False, False),
        # A rule that fails in Python fails on the tenant's figures.
        (ValueError("x"), False, True),
        (KeyError("plan"), False, True),
        (ZeroDivisionError("x"), False, True),
    ],
)
def test_errors_raised_in_python_are_distinguished_by_their_class(
    error: Exception, recoverable: bool, about_data: bool
) -> None:
    assert (is_recoverable(error), is_about_data(error)) == (recoverable, about_data)


def test_a_batch_error_may_say_of_itself_that_another_try_helps() -> None:
    error = BatchError("x")
    assert not is_recoverable(error)
    error.recoverable = True
    assert is_recoverable(error)


def test_the_reason_does_not_quote_the_rows_that_the_server_quotes(connection: psycopg.Connection) -> None:
    error = _raised(lambda: connection.execute("INSERT INTO known VALUES (%s, 1)", [SECRET]))
    assert SECRET in str(error)
    assert SECRET not in reason_of(error)
    assert 'unique constraint "known_pkey"' in reason_of(error)


def test_the_reason_is_one_line_and_never_empty() -> None:
    assert reason_of(ValueError("first\n  second\tthird")) == "first second third"
    assert reason_of(ValueError()) == "ValueError"
    assert code_of(ValueError("x")) == "ValueError"


def _raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as raised:
        act()
    return raised.value
