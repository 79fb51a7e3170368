"""BATCH-002 on real files and rows: deleted and kept ones, and files that it must never touch."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typing_extensions import override

from include.skillreport.batches.log_cleanup.batch import ROOTS_VARIABLE, LogCleanupBatch
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import LOG_CLEANUP
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.execution import run_log
from include.skillreport.core.execution.batch import Request, Run, UnitResult, Work
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.execution.shard_work import ShardReport, work_on_units
from include.skillreport.core.execution.sharding import shard_tenants
from local_stack.batch_runs import LocalInstallation
from local_stack.data_management import plant_log_files, plant_old_rows
from tests.conftest import Database, wait_for_blocked_statement
from tests.waiting import LIMIT_SECONDS
from tests.worlds import host_rows
from tests.worlds.log_files import SUNDAY, log_file


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A root of log files."""
    root = tmp_path / "logs"
    root.mkdir()
    return root


def batch(
    root: Path | None, store: ObjectStore | None = None, settings: LogCleanupSettings | None = None
) -> LogCleanupBatch:
    variables = {ROOTS_VARIABLE: str(root)} if root else {}
    installation = LocalInstallation(object_store=store, variables=variables)
    return LogCleanupBatch(settings or LogCleanupSettings.load(), installation)


def clean(
    database: Database,
    root: Path | None,
    store: ObjectStore,
    *,
    dry_run: bool = False,
    settings: LogCleanupSettings | None = None,
) -> tuple[Run, ShardReport, dict[str, UnitResult], run_log.RunResult, list[str]]:
    """A whole run, as the DAG's tasks do it."""
    cleanup = batch(root, store, settings)
    with database.connect("batch_platform") as platform:
        units = cleanup.units(Request({}, (), SUNDAY, platform))
        run = run_log.open_execution(
            platform,
            LOG_CLEANUP,
            dag_id=LOG_CLEANUP.dag_id,
            run_id="test",
            business_date=SUNDAY,
            run_date=SUNDAY,
            dry_run=dry_run,
            parameters={},
            shards=shard_tenants(units, ExecutionSettings.load()),
        )
        report = work_on_units(cleanup, Work(run, platform, tenant_ids=[unit.id for unit in units]))
        result = run_log.close_execution(platform, run)
        digest = list(cleanup.digest(Work(run, platform)).lines)
    return run, report, {each.unit_id: each for each in report.results}, result, digest


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_each_class_is_compressed_archived_and_deleted_in_its_time(
    shared_database: Database, logs: Path, store: ObjectStore
) -> None:
    log_file(logs, "app/web/app.log", 7)
    compressed = log_file(logs, "app/web/app-2026-11-14.log", 8)
    kept_stat = compressed.stat()
    log_file(logs, "app/app.log.3.gz", 30)
    log_file(logs, "app/app.log.4.gz", 31)
    log_file(logs, "debug/trace.log", 4)
    log_file(logs, "error/error.log.9", 91, "第一の障害\n")
    log_file(logs, "audit/audit.log.1", 300)

    _, _, planned, _, _ = clean(shared_database, logs, store, dry_run=True)
    before = names(logs)
    lines = [line for result in planned.values() for line in result.report if logs.name in line]
    assert sorted(line.split(": ")[0] for line in lines) == ["削除"] * 3 + ["圧縮"] * 2
    assert not Path(store.location("log_archive")).exists()

    _, report, results, result, digest = clean(shared_database, logs, store)
    assert len(before) == 7
    assert report.failures == []
    assert names(logs) == [
        "app/app.log.3.gz",
        "app/web/app-2026-11-14.log.gz",
        "app/web/app.log",
        "audit/audit.log.1.gz",
    ]
    packed = logs / "app/web/app-2026-11-14.log.gz"
    assert gzip.decompress(packed.read_bytes()) == b"line\n" * 500
    assert (packed.stat().st_mtime_ns, packed.stat().st_mode) == (kept_stat.st_mtime_ns, kept_stat.st_mode)
    (archived,) = Path(store.location("log_archive")).rglob("error.log.9-*.gz")
    assert gzip.decompress(archived.read_bytes()).decode() == "第一の障害\n"
    assert archived.parent.name == "2026-08"
    app = results["files/app"].details
    assert (app["filesDeleted"], app["filesCompressed"]) == (1, 1)
    assert app["bytesFreed"] == 2_500 + 2_500 - packed.stat().st_size
    assert result.sentence() == "BATCH-002 2026-11-22: 23 件中 23 件成功"
    assert digest[0] == "ログクリーンアップ 2026-11-22"
    assert "files/error: 削除 1 件、保管 1 件、解放 16 バイト" in digest
    assert digest[-1] == "→ 対応は不要です"


def test_nothing_outside_open_or_unknown_is_touched(
    shared_database: Database, logs: Path, store: ObjectStore, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    secret = log_file(outside, "secret.log", 400)
    log_file(outside, "deep/secret.log", 400)
    (logs / "app").mkdir()
    (logs / "app/link.log").symlink_to(secret)
    (logs / "app/folder").symlink_to(outside)
    (logs / "debug").symlink_to(outside)
    os.mkfifo(logs / "app/pipe.log")
    log_file(logs, "app/two\nlines.log", 400)
    log_file(logs, "app/core.dump", 400)
    log_file(logs, "mystery/a.log", 400)
    log_file(logs, "stray.log", 400)
    written = log_file(logs, "app/busy.log", 400)
    rotated = log_file(logs, "access/busy.log", 8)

    with written.open("rb") as reader, written.open("ab"), rotated.open("ab"):
        before = names(tmp_path)
        _, report, results, _, _ = clean(shared_database, logs, store)
        assert reader.read(4) == b"line"
        assert names(tmp_path) == before

    assert report.failures == []
    notes = "\n".join(note for result in results.values() for note in result.notes)
    for what in (
        "app/link.log: リンクはたどりません",
        "app/folder: リンクはたどりません",
        "debug: 種別のフォルダーではありません",
        "pipe.log: 特殊なファイルはたどりません",
        "two\\nlines.log': ログファイルの名前ではありません",
        "core.dump: ログファイルの名前ではありません",
        "mystery: 種別のフォルダーではありません",
        "stray.log: 種別のフォルダーではありません",
        "app/busy.log: 使用中",
        "access/busy.log: 使用中",
    ):
        assert what in notes
    clean(shared_database, logs, store)
    assert not written.exists()
    assert not rotated.exists()
    assert secret.exists()


def test_a_killed_compression_is_finished_and_another_files_gz_is_left_alone(
    shared_database: Database, logs: Path, store: ObjectStore
) -> None:
    done = log_file(logs, "app/done.log", 10)
    with gzip.open(logs / "app/done.log.gz", "wb") as packed:
        packed.write(done.read_bytes())
    log_file(logs, "app/.half.log.gz.part", 10)
    log_file(logs, "app/half.log", 10)
    log_file(logs, "app/other.log", 10)
    log_file(logs, "app/other.log.gz", 10, "not even gzip")

    _, _, results, _, _ = clean(shared_database, logs, store)

    assert names(logs) == ["app/done.log.gz", "app/half.log.gz", "app/other.log", "app/other.log.gz"]
    assert (logs / "app/other.log.gz").read_text() == "not even gzip"
    assert "別の内容で既にあります" in results["files/app"].notes[0]


def test_a_file_that_cannot_be_treated_keeps_no_other_from_its_turn(
    shared_database: Database, logs: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.log", "b.log", "c.log"):
        log_file(logs, f"app/{name}", 400)
    log_file(logs, "app/d.log", 10)
    unlink = os.unlink

    def full_disk(name: Any, **where: Any) -> None:
        if name == "b.log":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(name, **where)

    monkeypatch.setattr(os, "unlink", full_disk)
    _, report, _, result, digest = clean(shared_database, logs, store)

    assert names(logs / "app") == ["b.log", "d.log.gz"]
    (failure,) = report.failures
    assert (failure.unit_id, failure.recoverable) == ("files/app", False)
    assert f"app/b.log: ログのフォルダー {logs}/app は読み取り専用です。" in failure.message
    assert result.status == "partial"
    (line,) = (line for line in digest if line.startswith("files/app"))
    assert "削除 2 件、圧縮 1 件" in line
    assert line.endswith("処理できず 1 件、失敗しました")


class ForgetfulStore(ObjectStore):
    """Has other bytes than were written once they are on the disk."""

    @override
    def sync(self, key: str) -> None:
        super().sync(key)
        Path(self.location(key)).write_bytes(gzip.compress(b"other"))


def test_a_log_whose_archive_is_read_back_with_other_bytes_stays(
    shared_database: Database, logs: Path, tmp_path: Path
) -> None:
    log_file(logs, "error/old.log", 400)

    _, report, _, _, _ = clean(shared_database, logs, ForgetfulStore(tmp_path / "store"))

    assert names(logs) == ["error/old.log"]
    (failure,) = report.failures
    assert "に書いた内容が一致しません" in failure.message


def test_a_hostile_file_or_folder_fails_alone(
    shared_database: Database, logs: Path, store: ObjectStore, request: pytest.FixtureRequest
) -> None:
    log_file(logs, "app/deep/a.log", 10)
    request.addfinalizer(lambda: subprocess.run(["rm", "-r", logs], check=True))  # Python cannot, before 3.13
    folder = os.open(logs / "app/deep", os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("deep", dir_fd=folder)
        inner = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    log_file(logs, "app/damaged.log", 10)
    packed = bytearray(gzip.compress(b"line\n" * 500))
    packed[10] = 0xFF  # no kind of block
    (logs / "app/damaged.log.gz").write_bytes(packed)
    # 2 GB in 2 MB.
    log_file(logs, "app/large.log", 10, "\0" * 500)
    (logs / "app/large.log.gz").write_bytes(gzip.compress(b"\0" * (1 << 24)) * 128)
    log_file(logs, "app/z.log", 10)

    began = time.process_time()
    _, report, _, _, _ = clean(shared_database, logs, store)
    seconds = time.process_time() - began

    assert seconds < 3
    assert (logs / "app/z.log.gz").exists()
    assert (logs / "app/deep/a.log.gz").exists()
    (failure,) = report.failures
    damaged, deep, large = sorted(failure.notes)
    assert "damaged.log: 圧縮先 damaged.log.gz が壊れています" in damaged
    assert f"/app/{'deep/' * 99}deep: フォルダーの入れ子が 100 段を超えるため" in deep
    assert "large.log.gz が別の内容で既にあります" in large
    assert (failure.code, failure.details["errors"]) == ("FILES_NOT_TREATED", 2)


def test_a_missing_root_fails_only_the_files_and_a_relative_one_everything(
    shared_database: Database, logs: Path, store: ObjectStore
) -> None:
    _, report, results, result, _ = clean(shared_database, logs / "missing", store)
    assert {failure.unit_id.split("/")[0] for failure in report.failures} == {"files"}
    assert "を開けません" in report.failures[0].message
    assert set(results) >= {"rows/system_log", "rows/execution_log"}
    assert result.status == "partial"
    with pytest.raises(SettingsError, match="絶対パス"):
        clean(shared_database, Path("logs"), store)


def token(host: psycopg.Connection, token_id: str, expires_at: datetime | None) -> None:
    host_rows.insert(
        host,
        "SYS_TokenStore",
        id=token_id,
        tenant_id="A",
        expires_at=expires_at,
        updated_at=host_rows.UPDATED_AT,
    )


def execution(host: psycopg.Connection, execution_id: str, started_at: datetime, status: str) -> None:
    host.execute(
        """
        INSERT INTO batch.execution_log (
            execution_id, batch_id, dag_id, run_id, business_date, dry_run, parameters, execution_host, status,
            started_at, ended_at, total_tenants
        ) VALUES (%s, 'BATCH-018-01', 'd', 'r', %s, false, '{}', 'h', %s, %s, %s, 2)
        """,
        [execution_id, started_at.date(), status, started_at, None if status == "running" else started_at],
    )
    host.execute(
        "INSERT INTO batch.tenant_outcome (execution_id, tenant_id, status) VALUES (%s, 'A', 'pending'), (%s, 'B', 'pending')",
        [execution_id, execution_id],
    )
    host.execute("INSERT INTO batch.task_metric VALUES (%s, 'process', 0, 1, 1, 1)", [execution_id])


def test_rows_go_when_their_time_is_over_and_the_audit_log_never(
    shared_database: Database, store: ObjectStore
) -> None:
    with shared_database.connect() as host:
        # 180 days before the Sunday is 26 May, which begins in Japan at 15:00 UTC of the 25th.
        host_rows.request(host, "u", datetime(2026, 5, 25, 14, 59, 59))
        host_rows.request(host, "u", datetime(2026, 5, 25, 15))
        host_rows.audit(host, "u", datetime(2020, 1, 1))
        token(host, "old", datetime(2026, 11, 20, 14, 59))
        token(host, "fresh", datetime(2026, 11, 20, 15))
        token(host, "endless", None)
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        execution(host, "old", long_ago, "completed")
        execution(host, "stuck", long_ago, "running")
        execution(host, "recent", datetime(2026, 11, 1, tzinfo=UTC), "failed")
        host.execute(
            """
            INSERT INTO batch.operator_alert (alert_key, channel, severity, message, created_at, delivered_at, due_at) VALUES
            ('told', 'slack', 'HIGH', '{}', %(at)s, %(at)s, NULL), ('lost', 'slack', 'HIGH', '{}', %(at)s, NULL, NULL),
            ('waits', 'slack', 'HIGH', '{}', %(at)s, NULL, now())
            """,
            {"at": long_ago},
        )
        host.execute(
            """
            INSERT INTO batch.orphan_notice VALUES ('told', '', %(at)s, %(at)s), ('untold', '', %(at)s, NULL);
            INSERT INTO batch.sync_plan (
                tenant_id, provider, execution_id, status, plan_hash, world_hash, entries, problems, counts, planned_at
            ) SELECT 'A', 'slack', planned_at::text, 'applied', '', '', '[]', '[]', '{}', planned_at
            FROM unnest(ARRAY[%(at)s, now()]) AS planned_at;
            INSERT INTO batch.incident (
                tenant_id, check_name, opened_at, severity, evidence, breached_at, closed_at, closed_because, opened_by
            ) SELECT 'A', state, '2024-01-01', 'warning', '', '2024-01-01', closed_at, because, ''
            FROM (VALUES ('open', NULL::timestamptz, NULL), ('closed', '2025-01-02', 'recovered')) AS of (state, closed_at, because)
            """.replace("%(at)s", f"'{long_ago.isoformat()}'::timestamptz").encode()
        )
        _, _, planned, _, _ = clean(shared_database, None, store, dry_run=True)
        assert host.execute('SELECT count(*) FROM "SYS_SystemLog"').fetchone() == (2,)

        _, _, results, _, _ = clean(shared_database, None, store)

        rows = {
            unit: result.details["rowsDeleted"] for unit, result in results.items() if unit.startswith("rows")
        }
        assert {unit: count for unit, count in rows.items() if count} == {
            "rows/system_log": 1,
            "rows/expired_token": 1,
            "rows/execution_log": 6,
            "rows/closed_incident": 1,
            "rows/settled_alert": 2,
        }
        assert {unit: result.details["planned"] for unit, result in planned.items() if unit in rows} == rows
        left = host.execute(
            """
            SELECT
                (SELECT count(*) FROM "HIS_AuditLog"),
                (SELECT array_agg(id ORDER BY id) FROM "SYS_TokenStore"),
                (SELECT array_agg(execution_id ORDER BY execution_id) FROM batch.execution_log WHERE batch_id = 'BATCH-018-01'),
                (SELECT array_agg(alert_key) FROM batch.operator_alert),
                (SELECT array_agg(execution_id) FROM batch.orphan_notice),
                (SELECT count(*) FROM batch.sync_plan),
                (SELECT array_agg(check_name) FROM batch.incident)
            """
        ).fetchone()
    assert left == (1, ["endless", "fresh"], ["recent", "stuck"], ["waits"], ["untold"], 1, ["open"])


def test_many_rows_go_in_chunks_and_none_keeps_the_application_from_writing(
    database: Database, store: ObjectStore
) -> None:
    with database.connect() as host, ThreadPoolExecutor() as threads, database.connect() as holder:
        host.execute(
            """
            INSERT INTO "SYS_SystemLog" (id, created_at, updated_at)
            SELECT 'old_' || number, '2026-01-01', now() FROM generate_series(1, 2500) AS number
            """
        )
        # Each chunk waits for a lock of the test before it ends, and records the deleted rows.
        host.execute(
            """
            CREATE TABLE chunk (transaction_id bigint, deleted integer);
            CREATE FUNCTION note_chunk() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
                PERFORM pg_advisory_xact_lock_shared(1);
                INSERT INTO public.chunk SELECT pg_current_xact_id()::text::bigint, count(*) FROM gone;
                RETURN NULL;
            END $$;
            CREATE TRIGGER note_chunk AFTER DELETE ON "SYS_SystemLog" REFERENCING OLD TABLE AS gone
            FOR EACH STATEMENT EXECUTE FUNCTION note_chunk()
            """
        )
        holder.execute("SELECT pg_advisory_lock(1)")
        cleaning = threads.submit(clean, database, None, store)
        wait_for_blocked_statement(database)

        # The deletion is not committed. A request that waits for it fails.
        host.execute(f"SET lock_timeout = '{LIMIT_SECONDS}s'")
        host_rows.request(host, "u", datetime(2026, 11, 22))
        assert not cleaning.done()

        holder.execute("SELECT pg_advisory_unlock(1)")
        _, _, results, _, _ = cleaning.result()
        assert results["rows/system_log"].details["rowsDeleted"] == 2_500
        chunks = host.execute(
            "SELECT sum(deleted)::integer FROM chunk GROUP BY transaction_id HAVING sum(deleted) > 0 ORDER BY transaction_id"
        )
        assert chunks.fetchall() == [(1_000,), (1_000,), (500,)]
        left = host.execute(
            """SELECT count(*), count(*) FILTER (WHERE id LIKE 'old_%') FROM "SYS_SystemLog" """
        ).fetchone()
    assert left == (1, 0)


def test_the_demo_plants_every_case_of_the_cleanup(
    shared_database: Database, logs: Path, store: ObjectStore
) -> None:
    plant_log_files(logs)
    with shared_database.connect() as host:
        plant_old_rows(host)

    _, _, results, _, _ = clean(shared_database, logs, store)

    rows = {unit: result.details["rowsDeleted"] for unit, result in results.items() if "rows/" in unit}
    assert (rows["rows/system_log"], rows["rows/expired_token"]) == (2_500, 120)
    assert results["files/error"].details["filesArchived"] == 1
    untouched = sum(result.details.get("untouched", 0) for result in results.values())
    assert untouched == 3  # a dump of memory, a link, a folder that is no class
