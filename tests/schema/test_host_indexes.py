"""``indexes`` measures the application's tables, advises a kind of index for each, and creates it; ``check`` notices lost ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.__main__ import main
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks import indexes as index_check
from include.skillreport.schema.checks.findings import Finding
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import ROLES, upgrade
from include.skillreport.schema.host_contract import load_contract
from include.skillreport.schema.host_indexes import advice as advice_module
from include.skillreport.schema.host_indexes import creation
from include.skillreport.schema.host_indexes.advice import Advice, Verdict, frequency
from include.skillreport.schema.host_indexes.creation import create_indexes, index_of, measure_indexes
from include.skillreport.schema.host_indexes.recommended import RECOMMENDED, HostIndex, Kind
from tests.conftest import Database, Server
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.schema.conftest import as_deployer

LOG, AUDIT = "SYS_SystemLog_created_at_idx", "HIS_AuditLog_created_at_idx"
WAITING, TOKENS = "HIS_NotificationLog_send_status_idx", "SYS_TokenStore_expires_at_idx"
ROWS = 20_000


@pytest.fixture(autouse=True)
def small_tables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' tables are large enough."""
    monkeypatch.setattr(advice_module, "MINIMUM_ROWS", 10_000)
    monkeypatch.setattr(index_check, "LARGE_ROWS", 10_000)


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection]:
    """A superuser, in autocommit mode."""
    with database.connect() as connection:
        yield connection


def log_requests(
    connection: psycopg.Connection, first: datetime, days: int, rows: int, order: str = "number"
) -> None:
    """Requests spread evenly over the days, inserted in the given order."""
    connection.execute(
        sql.SQL(
            """
            INSERT INTO "SYS_SystemLog" (id, request_url, message, created_at, updated_at)
            SELECT gen_random_uuid(), '/api', repeat('x', 800), at, at
            FROM (
                SELECT %(first)s::timestamp + number * (interval '1 day' * %(days)s::integer / %(rows)s::integer) AS at
                FROM generate_series(0, %(rows)s::integer - 1) AS number
                ORDER BY {}
            ) AS request
            """
        ).format(sql.SQL(order)),
        {"first": first, "days": days, "rows": rows},
    )
    connection.execute('VACUUM ANALYZE "SYS_SystemLog"')


def of(all_advice: Sequence[Advice], name: str) -> Advice:
    """The advice about one index."""
    (found,) = (each for each in all_advice if each.index.name == name)
    return found


def create(database: Database, *names: str) -> list[str]:
    """The sentences of the command."""
    return list(create_indexes(database.dsn, names))


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


def test_the_list_names_columns_of_the_contract_and_prismas_default_names() -> None:
    tables = {table.name: table for table in load_contract()}
    for index in RECOMMENDED:
        assert index.column in tables[index.table].columns
        assert index.name == f"{index.table}_{index.column}_idx"
        assert len(index.name) <= 63
    assert len({index.key for index in RECOMMENDED}) == len(RECOMMENDED)


def test_a_long_name_is_cut_before_its_suffix_as_prisma_does() -> None:
    index = replace(RECOMMENDED[0], table="T" * 40, column="c" * 40)
    assert index.name == "T" * 40 + "_" + "c" * 18 + "_idx"
    assert len(index.name) == 63


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        (LOG, Kind.BRIN, "@@index([created_at(ops: TimestampMinMaxMultiOps)], type: Brin)"),
        (LOG, Kind.BTREE, "@@index([created_at])"),
        (WAITING, Kind.BTREE, "@@index([send_status])"),
    ],
)
def test_the_line_for_the_prisma_schema(name: str, kind: Kind, line: str) -> None:
    assert index_of(name).prisma_line(kind) == line


def test_how_often_a_batch_runs_is_read_from_its_cron() -> None:
    frequencies = {
        reader.batch.id: frequency(reader.batch) for index in RECOMMENDED for reader in index.readers
    }
    assert frequencies["BATCH-018-03"] == "1 日 24 回"
    assert frequencies["BATCH-018-01"] == "1 日 1 回"
    assert frequencies["BATCH-002"] == "週 1 回"


# The kind -------------------------------------------------------------------------------------------------------------


def test_a_log_in_the_order_of_its_time_gets_brin(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)

    advice = of(measure_indexes(database.dsn), LOG)

    assert (advice.verdict, advice.kind) == (Verdict.ADVISED, Kind.BRIN)
    assert advice.column.correlation == pytest.approx(1, abs=0.01)
    assert advice.column.rows_per_day == pytest.approx(ROWS / 20, rel=0.1)
    hourly, daily, _, weekly = advice.gains
    assert (hourly.reader.batch.id, daily.reader.batch.id) == ("BATCH-018-03", "BATCH-018-01")
    assert hourly.rows_without == daily.rows_without == ROWS
    assert hourly.rows_with is not None
    assert daily.rows_with is not None
    assert hourly.rows_with < daily.rows_with < ROWS / 4
    # After a clean-up BRIN cannot tell the oldest rows from others.
    assert weekly.rows_with == ROWS


def test_a_log_whose_first_pages_hold_its_newest_rows_gets_brin_although_its_correlation_is_low(
    database: Database, owner: psycopg.Connection
) -> None:
    # As after a clean-up, when new rows have filled the pages of deleted ones.
    log_requests(owner, datetime(2026, 10, 21), 15, ROWS)
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)

    advice = of(measure_indexes(database.dsn), LOG)

    assert advice.column.correlation is not None
    assert advice.column.correlation < 0
    assert advice.kind is Kind.BRIN


def test_a_table_that_mixes_its_days_gets_a_btree(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS, order="random()")

    advice = of(measure_indexes(database.dsn), LOG)

    assert advice.kind is Kind.BTREE
    assert advice.column.ranges_with_a_day == 1
    assert advice.gains[-1].rows_with == pytest.approx(7 * ROWS / 20, rel=0.2)


def test_a_table_whose_rows_are_often_updated_gets_a_btree(
    database: Database, owner: psycopg.Connection
) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    advice = of(measure_indexes(database.dsn), LOG)
    edited = replace(advice.table, inserted=ROWS, updated=ROWS // 2)

    assert advice_module.choose_kind(advice.index, edited, advice.column) is Kind.BTREE


def test_small_tables_and_tables_without_statistics_get_no_advice(
    database: Database, owner: psycopg.Connection
) -> None:
    assert {each.verdict for each in measure_indexes(database.dsn)} == {Verdict.SMALL}

    owner.execute('ALTER TABLE "SYS_TokenStore" SET (autovacuum_enabled = false)')
    owner.execute(
        'INSERT INTO "SYS_TokenStore" (id, updated_at) SELECT number, now() FROM generate_series(1, 20000) AS number'
    )
    all_advice = measure_indexes(database.dsn)
    assert of(all_advice, TOKENS).verdict is Verdict.UNKNOWN
    assert '`ANALYZE "SYS_TokenStore"`' in advice_module.as_text(all_advice)

    owner.execute('ANALYZE "SYS_TokenStore"')
    assert of(measure_indexes(database.dsn), TOKENS).kind is Kind.BTREE


def test_a_column_without_values_needs_no_index(database: Database, owner: psycopg.Connection) -> None:
    owner.execute(
        """
        INSERT INTO "TRN_SkillRecord" (id, tenant_id, created_by, updated_by, updated_at)
        SELECT number, 'T', 'x', 'x', '2026-10-01' FROM generate_series(1, 20000) AS number
        """
    )
    owner.execute('ANALYZE "TRN_SkillRecord"')

    all_advice = measure_indexes(database.dsn)

    assert of(all_advice, "TRN_SkillRecord_assessment_date_idx").verdict is Verdict.SMALL
    assert "この列の値がある行がない" in advice_module.as_text(all_advice)


def test_times_without_an_end_do_not_disturb(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    owner.execute(
        """UPDATE "SYS_SystemLog" SET created_at = CASE WHEN id < '8' THEN timestamp 'infinity' ELSE '-infinity' END
        WHERE id < '4' OR id > 'c'"""
    )
    owner.execute('ANALYZE "SYS_SystemLog"')

    assert of(measure_indexes(database.dsn), LOG).column.rows_per_day


def test_waiting_notifications_are_estimated_from_the_statistics(
    database: Database, owner: psycopg.Connection
) -> None:
    owner.execute(
        """
        INSERT INTO "HIS_NotificationLog" (id, send_status, updated_at)
        SELECT number, CASE WHEN number % 100 = 0 THEN 'Pending' ELSE 'SUCCESS' END, now()
        FROM generate_series(1, 20000) AS number
        """
    )
    owner.execute('ANALYZE "HIS_NotificationLog"')

    advice = of(measure_indexes(database.dsn), WAITING)

    assert (advice.verdict, advice.kind) == (Verdict.ADVISED, Kind.BTREE)
    assert [gain.rows_with for gain in advice.gains] == [pytest.approx(200, abs=20)] * 2


def test_measuring_changes_nothing(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    before = snapshot(owner)
    rows = {name: rows_of(owner, name) for name in relations(owner, "r")}

    measure_indexes(database.dsn)

    assert snapshot(owner) == before
    assert {name: rows_of(owner, name) for name in relations(owner, "r")} == rows


# Creation -------------------------------------------------------------------------------------------------------------


def test_the_advised_indexes_are_created_and_recorded(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)

    assert create(database) == [f"{LOG}: minmax_multi の BRIN を作成しました。"]

    assert definitions(owner, "SYS_SystemLog") == {LOG: "brin (created_at timestamp_minmax_multi_ops)"}
    recorded = owner.execute("SELECT table_name, column_name, index_name FROM batch.host_index").fetchall()
    assert recorded == [("SYS_SystemLog", "created_at", LOG)]
    advice = of(measure_indexes(database.dsn), LOG)
    assert advice.verdict is Verdict.PRESENT
    assert advice.prisma_line == "@@index([created_at(ops: TimestampMinMaxMultiOps)], type: Brin)"
    assert create(database) == []


def test_a_named_index_is_created_although_its_table_is_small(
    database: Database, owner: psycopg.Connection
) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, 10)

    assert create(database, TOKENS, LOG) == [
        f"{TOKENS}: B-tree を作成しました。",
        f"{LOG}: B-tree を作成しました。",
    ]
    assert create(database, AUDIT) == [
        f'{AUDIT}: 表 "HIS_AuditLog" に行がないため、種類を決められません。作成しませんでした。'
    ]

    assert definitions(owner, "SYS_TokenStore") == {TOKENS: "btree (expires_at)"}
    assert definitions(owner, "HIS_AuditLog") == {}


def test_an_index_that_serves_the_purpose_is_not_created_again(
    database: Database, owner: psycopg.Connection
) -> None:
    owner.execute('CREATE INDEX theirs ON "SYS_TokenStore" (expires_at, user_id)')
    owner.execute('CREATE INDEX partial ON "SYS_SystemLog" (created_at) WHERE NOT is_deleted')
    owner.execute('CREATE INDEX minmax ON "HIS_AuditLog" USING brin (created_at)')

    assert create(database, TOKENS, AUDIT) == [
        f"{TOKENS}: すでに theirs があります。",
        f"{AUDIT}: すでに minmax があります。",
    ]

    all_advice = measure_indexes(database.dsn)
    assert of(all_advice, LOG).present is None
    assert of(all_advice, TOKENS).prisma_line == ""
    assert of(all_advice, AUDIT).prisma_line == '@@index([created_at], type: Brin, map: "minmax")'
    assert "索引: あり（minmax、brin）。既定の演算子クラスの BRIN は" in advice_module.as_text(all_advice)


def test_what_an_aborted_creation_has_left_is_replaced(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    owner.execute(f'CREATE INDEX "{LOG}" ON "SYS_SystemLog" (created_at)'.encode())
    owner.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [f'"{LOG}"'])

    all_advice = measure_indexes(database.dsn)
    assert of(all_advice, LOG).verdict is Verdict.ADVISED
    assert f"作成が途中で止まった {LOG} があります" in advice_module.as_text(all_advice)
    assert [each.subject for each in findings(database)] == ["public"]

    assert create(database) == [f"{LOG}: minmax_multi の BRIN を作成しました。"]
    assert definitions(owner, "SYS_SystemLog") == {LOG: "brin (created_at timestamp_minmax_multi_ops)"}


def test_a_long_transaction_stops_the_creation_and_the_next_one_mends_it(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    monkeypatch.setattr(creation, "LOCK_TIMEOUT", "200ms")

    with database.connect() as writer, writer.transaction():
        writer.execute('UPDATE "SYS_SystemLog" SET message = NULL WHERE id < %s', ["1"])
        with pytest.raises(SchemaError, match=f"長いトランザクション.*{LOG}"):
            create(database)
    assert create(database) == [f"{LOG}: minmax_multi の BRIN を作成しました。"]
    assert of(measure_indexes(database.dsn), LOG).verdict is Verdict.PRESENT


def test_an_index_that_cannot_be_dropped_is_named_with_what_to_do(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    monkeypatch.setattr(creation, "LOCK_TIMEOUT", "100ms")
    advice = f'索引 {LOG} が残.*indexes --create {LOG}.*DROP INDEX CONCURRENTLY public."{LOG}"'

    with database.connect() as writer, writer.transaction():
        writer.execute('UPDATE "SYS_SystemLog" SET message = NULL WHERE id < %s', ["1"])
        for _ in range(2):
            with pytest.raises(SchemaError, match=f"長いトランザクション.*{advice}"):
                create(database)
            assert of(measure_indexes(database.dsn), LOG).broken

    assert create(database, LOG) == [f"{LOG}: minmax_multi の BRIN を作成しました。"]


def test_an_index_is_recorded_although_the_next_one_fails(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "LOCK_TIMEOUT", "100ms")
    log_requests(owner, datetime(2026, 10, 1), 20, 10)

    with database.connect() as writer, writer.transaction():
        writer.execute('UPDATE "SYS_SystemLog" SET message = NULL')
        with pytest.raises(SchemaError, match=LOG):
            create(database, TOKENS, LOG)

    owner.execute(f'DROP INDEX "{TOKENS}"'.encode())
    assert [(each.code, each.subject) for each in findings(database)] == [
        ("host-index-lost", '"SYS_TokenStore"."expires_at"')
    ]


def test_two_creations_at_once_do_not_harm(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    first = create_indexes(database.dsn, [LOG, TOKENS])
    next(first)

    with pytest.raises(SchemaError, match="別の `indexes --create` が実行中です"):
        create(database)

    assert list(first) == [f"{TOKENS}: B-tree を作成しました。"]
    assert create(database, LOG) == [f"{LOG}: すでに {LOG} があります。"]


def test_only_the_owner_of_the_tables_creates_indexes(server: Server, deployer: str) -> None:
    dsn = as_deployer(server.dsn(deployer), deployer)
    with psycopg.connect(server.dsn(deployer), autocommit=True) as admin:
        admin.execute(
            sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(
                sql.SQL(", ").join(map(sql.Identifier, ROLES)), sql.Identifier(deployer)
            )
        )
        upgrade(dsn)
        assert list(create_indexes(dsn, [TOKENS])) == [f"{TOKENS}: B-tree を作成しました。"]
        assert rows_of(admin, "host_index")

        admin.execute('ALTER TABLE "HIS_NotificationLog" OWNER TO CURRENT_USER')
        admin.execute(sql.SQL('GRANT SELECT ON "HIS_NotificationLog" TO {}').format(sql.Identifier(deployer)))
        with pytest.raises(SchemaError, match=f'"{deployer}" は表 "HIS_NotificationLog" の所有者ではない'):
            list(create_indexes(dsn, [WAITING]))
        assert definitions(admin, "HIS_NotificationLog") == {}


def test_before_the_deployment_indexes_are_created_and_the_deployment_records_them(host: Database) -> None:
    assert create(host, TOKENS) == [f"{TOKENS}: B-tree を作成しました。"]

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

    owner.execute('CREATE INDEX another_name ON "SYS_TokenStore" (expires_at)')
    assert findings(database) == []

    owner.execute("DROP INDEX another_name")
    creation.forget_indexes(database.dsn, [TOKENS])
    assert findings(database) == []


def test_large_tables_without_an_index_are_one_remark(database: Database, owner: psycopg.Connection) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
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


def test_the_command_prints_what_each_batch_gains_and_the_lines_for_prisma(
    database: Database,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_requests(owner, datetime(2026, 10, 1), 20, ROWS)
    create(database, TOKENS)

    assert run(monkeypatch, database) == 0
    text = capsys.readouterr().out
    assert '"SYS_SystemLog"."created_at"（API 呼び出しの集計と、古い行の削除）' in text
    assert "索引: なし。minmax_multi の BRIN を勧めます。" in text
    assert (
        "BATCH-018-03 テナント状態監視バッチ（1 日 24 回、2 時間分）: 1 回に読む行は索引なしで約 20,000 行"
        in text
    )
    assert (
        '// @@map("SYS_SystemLog") の model\n  @@index([created_at(ops: TimestampMinMaxMultiOps)], type: Brin)'
        in text
    )
    assert f"索引: あり（{TOKENS}、btree）" in text
    assert '// @@map("SYS_TokenStore") の model\n  @@index([expires_at])' in text
    assert "勧める索引は 1 件です。" in text


def test_the_command_prints_the_same_for_programs(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, database, "--json") == 0

    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in report["indexes"]] == [index.name for index in RECOMMENDED]
    first = report["indexes"][0]
    assert (first["verdict"], first["kind"], first["prisma_line"]) == ("small", None, "")
    assert first["readers"][0]["batch_id"] == "BATCH-018-03"


def test_the_command_creates_and_forgets(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, database, "--create") == 0
    assert run(monkeypatch, database, "--create", TOKENS) == 0
    assert run(monkeypatch, database, "--forget", TOKENS) == 0
    assert run(monkeypatch, database, "--create", "nonsense") == 1

    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "新しく作成する索引はありません。",
        f"{TOKENS}: B-tree を作成しました。",
        "記録から除きました。索引そのものは変えていません。",
    ]
    assert "索引 nonsense は一覧にありません。" in printed.err
    assert TOKENS in printed.err


def test_an_index_that_the_host_cannot_have_is_unknown() -> None:
    with pytest.raises(SchemaError, match="一覧にありません"):
        index_of("MST_Tenant_pkey")
    assert isinstance(index_of(LOG), HostIndex)
