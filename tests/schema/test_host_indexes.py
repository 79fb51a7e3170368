"""``indexes`` lists the indexes that the application's tables lack, and creates them; ``check`` notices lost and unusable ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from include.skillreport.__main__ import main
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks import indexes as index_check
from include.skillreport.schema.checks.findings import Finding
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import ROLES, upgrade
from include.skillreport.schema.host_contract import HostVariant, load_contract
from include.skillreport.schema.host_indexes import creation
from include.skillreport.schema.host_indexes.creation import create_indexes, forget_indexes, list_indexes
from include.skillreport.schema.host_indexes.listing import HOST_INDEXES, index_of, index_states
from tests.conftest import Database, Server
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.schema.conftest import MakeHost, as_deployer

LOG, AUDIT = "SYS_SystemLog_created_at_idx", "HIS_AuditLog_created_at_idx"
WAITING, TOKENS = "HIS_NotificationLog_send_status_idx", "SYS_TokenStore_expires_at_idx"
CREATED_TOKENS = f"{TOKENS} を作成しました。model に @@index([expires_at]) を加えてください。"
CREATED_LOG = f"{LOG} を作成しました。model に @@index([created_at(ops: TimestampMinMaxMultiOps)], type: Brin) を加えてください。"
ROWS = 20_000


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """A superuser, in autocommit mode."""
    with database.connect() as connection:
        yield connection


def log_requests(connection: psycopg.Connection) -> None:
    """A request log."""
    connection.execute(
        """
        INSERT INTO "SYS_SystemLog" (id, request_url, created_at, updated_at)
        SELECT number, '/api', timestamp '2026-10-01' + number * interval '1 minute', '2026-10-01'
        FROM generate_series(1, %s) AS number
        """,
        [ROWS],
    )
    connection.execute('VACUUM ANALYZE "SYS_SystemLog"')


def create(database: Database, *names: str) -> list[str]:
    """The sentences of the command."""
    return list(create_indexes(database.dsn, names))


def missing(connection: psycopg.Connection) -> set[str]:
    """The names of the missing indexes."""
    return {state.index.name for state in index_states(connection) if not state.present}


def definitions(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """The table's indexes but its primary key, by name, as PostgreSQL spells them after USING."""
    rows = connection.execute(
        "SELECT indexname, split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE tablename = %s AND indexname NOT LIKE '%%_pkey'",
        [table],
    )
    return dict(rows.fetchall())


def findings(database: Database) -> list[Finding]:
    """The findings of ``check`` about indexes."""
    return [each for each in check_database(database.dsn).findings if each.code.startswith("host-index")]


# The list -------------------------------------------------------------------------------------------------------------


def test_the_list_names_columns_of_the_contract_prismas_default_names_and_batches() -> None:
    tables = {table.name: table for table in load_contract()}
    batches = {spec.id for spec in BATCHES}
    for index in HOST_INDEXES:
        assert index.column in tables[index.table].columns
        # Prisma cuts longer names.
        assert index.name == f"{index.table}_{index.column}_idx"
        assert len(index.name) <= 63
        assert set(index.readers) <= batches
        assert index.readers
    assert len({index.key for index in HOST_INDEXES}) == len(HOST_INDEXES)
    text = Path(creation.__file__).with_name("indexes.sql").read_text(encoding="utf-8")
    assert len(HOST_INDEXES) == text.count("CREATE INDEX")


@pytest.mark.parametrize("variant", HostVariant)
def test_both_variants_of_the_host_get_all_indexes(make_host: MakeHost, variant: HostVariant) -> None:
    host = make_host(variant)
    with host.connect() as connection:
        assert missing(connection) == {index.name for index in HOST_INDEXES}

        assert len(create(host)) == len(HOST_INDEXES)

        assert definitions(connection, "SYS_SystemLog") == {
            LOG: "brin (created_at timestamp_minmax_multi_ops)"
        }
        assert definitions(connection, "SYS_TokenStore")[TOKENS] == "btree (expires_at)"
        assert missing(connection) == set()
        assert create(host) == []


def test_an_index_whose_table_or_column_does_not_exist_is_not_demanded(host: Database) -> None:
    with host.connect() as connection:
        connection.execute('DROP TABLE "SYS_TokenStore"')
        connection.execute('ALTER TABLE "SYS_SystemLog" RENAME created_at TO written_at')

        assert {LOG, TOKENS}.isdisjoint(missing(connection))
        assert LOG not in list_indexes(host.dsn)
        with pytest.raises(SchemaError, match=f"{LOG}、{TOKENS} の表か列が、このデータベースにありません"):
            create(host, TOKENS, LOG)
        assert len(create(host)) == len(HOST_INDEXES) - 2


def test_a_database_without_the_applications_tables_is_named(server: Server) -> None:
    for command in (list_indexes, lambda dsn: list(create_indexes(dsn))):
        with pytest.raises(SchemaError, match="データベース postgres にアプリケーションの表がありません"):
            command(server.admin_url)


def test_an_index_that_serves_the_purpose_is_not_demanded(
    database: Database, owner: psycopg.Connection
) -> None:
    owner.execute('CREATE INDEX theirs ON "SYS_TokenStore" (expires_at, user_id)')
    owner.execute('CREATE INDEX partial ON "SYS_SystemLog" (created_at) WHERE NOT is_deleted')
    owner.execute('CREATE INDEX second ON "SYS_SystemLog" (user_id, created_at)')
    owner.execute('CREATE INDEX minmax ON "HIS_AuditLog" USING brin (created_at)')
    owner.execute('CREATE INDEX brin_status ON "HIS_NotificationLog" USING brin (send_status)')

    assert missing(owner).intersection({TOKENS, LOG, AUDIT, WAITING}) == {LOG, WAITING}
    assert create(database, TOKENS, AUDIT) == []
    upgrade(database.dsn)
    assert {row["index_name"] for row in rows_of(owner, "host_index")} == {"theirs", "minmax"}


def test_the_list_as_json_is_that_of_the_text(
    database: Database, owner: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    create(database, TOKENS)

    assert main(["indexes", "--dsn", database.dsn, "--json"]) == 0

    listed = json.loads(capsys.readouterr().out)
    assert {row["index"] for row in listed} == missing(owner)
    text = list_indexes(database.dsn)
    assert all(row["statement"] in text for row in listed)
    (log,) = [row for row in listed if row["index"] == LOG]
    assert (log["table"], log["column"], log["present"], log["unusable"]) == (
        "SYS_SystemLog",
        "created_at",
        None,
        False,
    )
    assert "BATCH-018-03" in log["read_by"]


def test_listing_changes_nothing(database: Database, owner: psycopg.Connection) -> None:
    before = snapshot(owner)
    rows = {name: rows_of(owner, name) for name in relations(owner, "r")}

    list_indexes(database.dsn)

    assert snapshot(owner) == before
    assert {name: rows_of(owner, name) for name in relations(owner, "r")} == rows


# Creation -------------------------------------------------------------------------------------------------------------


def test_named_indexes_are_created_and_recorded(database: Database, owner: psycopg.Connection) -> None:
    assert create(database, TOKENS, LOG) == [CREATED_TOKENS, CREATED_LOG]

    recorded = owner.execute("SELECT table_name, column_name, index_name FROM batch.host_index ORDER BY 1")
    assert recorded.fetchall() == [
        ("SYS_SystemLog", "created_at", LOG),
        ("SYS_TokenStore", "expires_at", TOKENS),
    ]
    assert definitions(owner, "HIS_AuditLog") == {}
    assert create(database, TOKENS) == []


def test_an_interrupted_index_creation_is_named_with_its_removal(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_requests(owner)
    monkeypatch.setattr(creation, "LOCK_SECONDS", 1)
    removal = f'DROP INDEX CONCURRENTLY public."{LOG}"'

    with database.connect() as writer, writer.transaction():
        writer.execute('UPDATE "SYS_SystemLog" SET message = NULL WHERE id = %s', ["1"])
        holder = rf"client backend \(.*, pid {writer.info.backend_pid}\)"
        with pytest.raises(
            SchemaError,
            match=f'^表 "SYS_SystemLog" の索引 {LOG} の作成は、{holder} が終わるのを 1 秒.*`{removal}`',
        ):
            create(database)

    assert removal in list_indexes(database.dsn)
    (finding,) = findings(database)
    assert (finding.severity, finding.code, finding.subject) == (
        "remark",
        "host-index-unusable",
        '"SYS_SystemLog"."created_at"',
    )
    assert removal in finding.text
    with pytest.raises(SchemaError, match=removal):
        create(database)
    assert create(database, TOKENS) == [CREATED_TOKENS]

    owner.execute(removal.encode())
    assert create(database, LOG) == [CREATED_LOG]
    assert findings(database) == []


def test_an_index_is_recorded_although_the_next_one_fails(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "LOCK_SECONDS", 0.1)
    log_requests(owner)

    with database.connect() as writer, writer.transaction():
        writer.execute('UPDATE "SYS_SystemLog" SET message = NULL WHERE id = %s', ["1"])
        with pytest.raises(SchemaError, match=LOG):
            create(database, TOKENS, LOG)

    owner.execute(f'DROP INDEX "{TOKENS}"'.encode())
    assert ("host-index-lost", '"SYS_TokenStore"."expires_at"') in [
        (each.code, each.subject) for each in findings(database)
    ]


def test_a_name_that_another_index_has_is_an_error(database: Database, owner: psycopg.Connection) -> None:
    owner.execute(f'CREATE INDEX "{TOKENS}" ON "SYS_TokenStore" (user_id)'.encode())

    with pytest.raises(SchemaError, match=f"{TOKENS} という名前の索引か表がもうあります"):
        create(database, TOKENS)


def test_two_creations_at_once_do_not_harm(database: Database) -> None:
    first = create_indexes(database.dsn, [LOG, TOKENS])
    next(first)

    with pytest.raises(SchemaError, match="別の `indexes --create` が実行中です"):
        create(database)

    assert list(first) == [CREATED_TOKENS]


def test_only_the_owner_of_the_tables_creates_indexes(server: Server, deployer: str) -> None:
    dsn = as_deployer(server.dsn(deployer), deployer)
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(
                sql.SQL(", ").join(map(sql.Identifier, ROLES)), sql.Identifier(deployer)
            )
        )
        upgrade(dsn)
        assert list(create_indexes(dsn, [TOKENS])) == [CREATED_TOKENS]
        assert rows_of(admin, "host_index")

        admin.execute('ALTER TABLE "HIS_NotificationLog" OWNER TO CURRENT_USER')
        admin.execute(sql.SQL('GRANT SELECT ON "HIS_NotificationLog" TO {}').format(sql.Identifier(deployer)))
        with pytest.raises(SchemaError, match=f'"{deployer}" の権限.*HIS_NotificationLog.*表の所有者で実行'):
            list(create_indexes(dsn, [WAITING]))
        assert definitions(admin, "HIS_NotificationLog") == {}


def test_before_the_deployment_indexes_are_created_and_the_deployment_records_them(host: Database) -> None:
    assert create(host, TOKENS) == [CREATED_TOKENS]

    upgrade(host.dsn)

    with host.connect() as connection:
        assert [row["index_name"] for row in rows_of(connection, "host_index")] == [TOKENS]


# The findings of check -----------------------------------------------------------------------------------------------------


def test_a_lost_index_is_a_remark_until_it_is_back_or_forgotten(
    database: Database, owner: psycopg.Connection
) -> None:
    create(database, TOKENS)
    assert findings(database) == []

    owner.execute(f'DROP INDEX "{TOKENS}"'.encode())
    upgrade(database.dsn)
    (finding,) = findings(database)
    assert (finding.severity, finding.code, finding.subject) == (
        "remark",
        "host-index-lost",
        '"SYS_TokenStore"."expires_at"',
    )
    assert f"indexes --create {TOKENS}" in finding.text
    assert "@@index([expires_at])" in finding.text

    owner.execute('CREATE INDEX another_name ON "SYS_TokenStore" (expires_at)')
    assert findings(database) == []

    owner.execute("DROP INDEX another_name")
    forget_indexes(database.dsn, [TOKENS])
    assert findings(database) == []


def test_large_tables_without_an_index_are_one_remark(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_check, "LARGE_ROWS", 10_000)
    log_requests(owner)
    owner.execute(
        'INSERT INTO "SYS_TokenStore" (id, updated_at) SELECT number, now() FROM generate_series(1, 20000) AS number'
    )
    owner.execute('ANALYZE "SYS_TokenStore"')

    (finding,) = findings(database)
    assert (finding.severity, finding.code) == ("remark", "host-index-missing")
    assert '"SYS_SystemLog"."created_at"、"SYS_TokenStore"."expires_at"' in finding.text

    create(database)
    owner.execute(f'DROP INDEX "{LOG}"'.encode())
    assert [each.code for each in findings(database)] == ["host-index-lost"]


# The command ----------------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, database: Database, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["include.skillreport", "indexes", "--dsn", database.dsn, *arguments])
    return main()


def test_the_command_lists_creates_and_forgets(
    database: Database,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_requests(owner)
    assert run(monkeypatch, database, "--create", TOKENS) == 0
    assert run(monkeypatch, database, "--forget", TOKENS) == 0
    assert run(monkeypatch, database, "--create", "nonsense") == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [CREATED_TOKENS, "記録から除きました。索引そのものは変えていません。"]
    assert "索引 nonsense は一覧にありません。" in printed.err
    assert TOKENS in printed.err

    assert run(monkeypatch, database) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        '"SYS_SystemLog"."created_at"（約 20,000 行）: BATCH-018-03、BATCH-018-01、BATCH-003、BATCH-002 が読みます。\n'
        f"  {index_of(LOG).statement};\n"
        "  @@index([created_at(ops: TimestampMinMaxMultiOps)], type: Brin)\n"
    )
    assert TOKENS not in text
    assert f"足りない索引は {len(HOST_INDEXES) - 1} 件です。" in text

    assert run(monkeypatch, database, "--create") == 0
    capsys.readouterr()
    assert run(monkeypatch, database, "--create") == 0
    assert run(monkeypatch, database) == 0
    assert capsys.readouterr().out.splitlines() == ["足りない索引はありません。"] * 2
