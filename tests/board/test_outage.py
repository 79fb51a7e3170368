"""The board without its database, its schema or its privileges: a page explains the problem, and Airflow continues."""

from __future__ import annotations

from asyncio import gather

import anyio
import psycopg
import pytest
from anyio.from_thread import BlockingPortal
from fastapi import FastAPI

from include.skillreport.schema.deploy import detach
from tests.board.conftest import Board
from tests.conftest import PASSWORDS, Database

# They change the schema, or have a pool of their own.
pytestmark = pytest.mark.own_database


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a second where a person would wait some."""
    monkeypatch.setattr("skill_batch.board.database._WAIT_SECONDS", 0.5)
    monkeypatch.setattr("skill_batch.board.database._STATEMENT_MILLISECONDS", 1_000)


@pytest.fixture
def lonely(api_app: FastAPI, loop: BlockingPortal, monkeypatch: pytest.MonkeyPatch) -> Board:
    """The board before its connection is defined."""
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", raising=False)
    return Board(api_app, loop, "admin")


def _assert_problem(board: Board, *sentences: str) -> None:
    answer = board.get("/")
    assert answer.status_code == 503
    for sentence in ("ボードのデータを読めません", *sentences):
        assert sentence in answer.text
    # The rest of the page is there, and so is Airflow.
    assert "テナント" in answer.text
    assert board.api("GET", "/dags", params={"limit": 1}).status_code == 200
    assert board.get("/static/board.css").status_code == 200


def test_without_the_connection(lonely: Board) -> None:
    _assert_problem(lonely, "接続 &#39;skill_batch_board_db&#39; が定義されていません")


def test_without_a_server(lonely: Board, unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", f"postgres://batch_board:secret-word@127.0.0.1:{unused_port}/x"
    )
    _assert_problem(lonely, "データベースに接続できません")
    assert "secret-word" not in lonely.get("/").text


def test_with_a_wrong_password(board: Board, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = database.airflow_connection("batch_board").replace(PASSWORDS["batch_board"], "wrong")
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", wrong)
    _assert_problem(board, "データベースに接続できません")


def test_without_the_schema(board: Board, database: Database) -> None:
    with database.connect() as host:
        host.execute("DROP SCHEMA batch CASCADE")
    _assert_problem(board, "`python -m include.skillreport upgrade` を実行してください")


def test_without_the_views(board: Board, database: Database) -> None:
    detach(database.dsn)
    _assert_problem(board, "`python -m include.skillreport attach` を実行してください")


@pytest.mark.parametrize("deployed", ["0030", "0001_0123456789ab"])
def test_with_a_schema_of_another_baseline(board: Board, database: Database, deployed: str) -> None:
    with database.connect() as host:
        host.execute("UPDATE batch.deployment SET revision = %s", [deployed])
    _assert_problem(board, f"公開前の別のコードが作った版 {deployed} で", "DROP SCHEMA batch CASCADE")


def test_with_views_that_do_not_tell_their_revision(board: Board, database: Database) -> None:
    with database.connect() as host:
        host.execute("DROP VIEW batch.board_deployment")
    _assert_problem(board, "版 不明 で", "DROP SCHEMA batch CASCADE")


def test_with_a_schema_that_can_be_upgraded(board: Board, database: Database) -> None:
    with database.connect() as host:
        host.execute("DELETE FROM batch.deployment")
    _assert_problem(board, "版は なし ですが", "`python -m include.skillreport upgrade` を実行してください")


def test_with_a_login_that_may_not_act_as_the_boards_role(
    board: Board, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_BOARD_DB", database.airflow_connection("batch_tenant"))
    _assert_problem(board, "GRANT batch_board TO ログイン")


def test_with_a_view_that_the_role_may_not_read(board: Board, database: Database) -> None:
    with database.connect() as host:
        host.execute("REVOKE SELECT ON batch.board_run FROM batch_board")
    _assert_problem(board, "権限がありません")


def test_a_database_that_comes_back_is_used_again(board: Board, database: Database) -> None:
    assert board.get("/").status_code == 200
    with database.connect() as host:
        host.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'batch_board'")
    assert board.get("/").status_code == 200


def test_a_statement_that_takes_too_long_is_ended(board: Board, database: Database) -> None:
    with database.connect() as locker, locker.transaction():
        locker.execute("LOCK TABLE batch.execution_log IN ACCESS EXCLUSIVE MODE")
        _assert_problem(board, "1 秒以内に読めませんでした")


def test_the_board_only_reads_its_own_views(database: Database) -> None:
    with database.connect("batch_board") as connection:
        for statement in (
            "SELECT * FROM batch.outbox",
            "SELECT body FROM batch.outbox",
            'SELECT * FROM "MST_UserAuth"',
            "SELECT * FROM batch.all_account",
            "SELECT * FROM batch.invoice",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        readable = {
            name
            for (name,) in connection.execute(
                """
                SELECT relname FROM pg_class
                WHERE
                    relnamespace = 'batch'::regnamespace AND relkind IN ('r', 'p', 'v')
                    AND has_any_column_privilege('batch_board', oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                """
            )
        }
    assert readable
    # It may insert there, and read nothing (test_contracts.py).
    assert {name for name in readable if not name.startswith("board_")} == {"entered_values"}


def test_no_column_of_the_views_is_a_text_or_a_secret(database: Database) -> None:
    with database.connect() as host:
        columns = {
            (view, column)
            for view, column in host.execute(
                """
                SELECT relname, attname
                FROM pg_class INNER JOIN pg_attribute ON attrelid = pg_class.oid
                WHERE relnamespace = 'batch'::regnamespace AND relname LIKE 'board\\_%' AND attnum > 0
                """
            )
        }
    secret = {
        "subject",
        "body",
        "destination",
        "address",
        "email",
        "password",
        "setting_value",
        "new_value",
        "old_value",
        "entries",
    }
    # The subject of a finding is a setting's name. Those who may change contracts see whole addresses.
    assert {each for each in columns if each[1] in secret} == {
        ("board_setting_finding", "subject"),
        ("board_billing_address", "address"),
        ("board_billing_mail", "address"),
    }


@pytest.mark.slow("runs sessions against each other")
def test_many_readers_at_once_do_not_block_each_other(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page asks Airflow's API, which needs a thread of the same pool of 40: pages must never hold all of them."""
    # Each gets its page in the end, also on a busy machine.
    monkeypatch.setattr("skill_batch.board.database._WAIT_SECONDS", 60)
    monkeypatch.setattr("skill_batch.board.database._STATEMENT_MILLISECONDS", 60_000)
    page = "/operations/operate_notifications/list"  # a small one that asks

    async def all_at_once() -> list[int]:
        with anyio.fail_after(60):
            return [
                answer.status_code for answer in await gather(*(board.sent("GET", page) for _ in range(60)))
            ]

    assert set(board.loop.call(all_at_once)) == {200}
