"""The rows and files that exports and restores read: a tenant's rows by index, a tenant's files only, and no log from its beginning."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.data_backup.files import Packer
from include.skillreport.batches.data_backup.ownership import OwnedTable, index_owners, owned_tables
from include.skillreport.batches.data_backup.restore import restore_one_tenant
from include.skillreport.batches.data_backup.tenant_export import manifest_path
from include.skillreport.core.database import count_of
from include.skillreport.core.execution.object_store import ObjectStore
from tests.worlds import host_rows
from tests.worlds.backup_stages import backups, taken
from tests.worlds.backups import HOSTILE, Backups

OLD = datetime(2026, 9, 1)


__all__ = ["backups", "taken"]


class CountingStore(ObjectStore):
    """Notes which files are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.keys: list[str] = []

    def read(self, key: str) -> bytes:
        self.keys.append(key)
        return super().read(key)

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        self.keys.append(key)
        with super().reader(key) as source:
            yield source


def plant_log(host: psycopg.Connection, rows: int) -> None:
    """A long log of the other tenant, and the index that `include.skillreport indexes` advises."""
    host.execute(
        """
        INSERT INTO "SYS_SystemLog" (id, log_level, log_category, message, user_id, created_at, updated_at)
        SELECT 'old ' || number, 'INFO', 'API', 'x', %(user)s, %(at)s, %(at)s
        FROM generate_series(1, %(rows)s) AS number
        """,
        {"user": f"{HOSTILE}-1", "at": OLD, "rows": rows},
    )
    host.execute('CREATE INDEX ON "SYS_SystemLog" (created_at)')
    host.execute('ANALYZE "SYS_SystemLog"')


def rows_read_by_scans(connection: psycopg.Connection, table: str) -> int:
    """The rows of the host's table that the open transaction has read by sequential scans."""
    return count_of(
        connection,
        "SELECT coalesce(max(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE schemaname = 'public' AND relname = %s",
        [table],
    )


def test_a_tenants_restore_reads_its_own_files_and_manifests_only(taken: Backups) -> None:
    backup_id = taken.newest
    store = CountingStore(taken.root)
    packer = Packer(store, f"backups/{backup_id}")
    own = manifest_path("A")
    files = [each["path"] for each in json.loads(store.read(packer.key(own)))["files"]]
    assert len(files) > 3
    store.keys.clear()

    with taken.server.connect() as connection:
        restore_one_tenant(
            connection,
            packer,
            "A",
            manifest_sha256=taken.recorded("manifest_sha256", backup_id),
            keys=taken.mac_keys,
            merged=True,
        )

    own_keys = [key for key in store.keys if key.startswith("backups/")]
    assert own_keys == [packer.key(path) for path in ("manifest.json", own, *files)]


def test_a_tenants_restore_does_not_read_a_log_from_its_beginning(taken: Backups) -> None:
    with taken.database.connect() as host:
        plant_log(host, 20_000)
        host_rows.request(host, "A-1", datetime.now())  # noqa: DTZ005  # the host's times have no zone
        host.execute(
            "UPDATE \"SYS_SystemLog\" SET message = 'changed' WHERE id NOT LIKE 'old%' AND user_id = 'A-2'"
        )

    with taken.server.connect() as connection, connection.transaction():
        done = taken.restore_tenant(connection, taken.newest, "A", merged=True)
        read = {name: rows_read_by_scans(connection, name) for name in ("SYS_SystemLog", "MST_Employee")}

    log = {each.name: each for each in done.conflicts}["SYS_SystemLog"]
    assert (log.changed, log.missing, log.new) == (1, 0, 1)
    assert read["SYS_SystemLog"] == 0 < read["MST_Employee"]


@contextmanager
def prepared(backups: Backups) -> Iterator[psycopg.Connection]:
    """A database as exports read it. A restored one has the same tables."""
    with backups.server.connect() as snapshot:
        with snapshot.transaction():
            index_owners(snapshot)
        yield snapshot


def test_an_export_reads_a_tenants_rows_by_index(backups: Backups) -> None:
    """Of the tables that have more than a page of rows, no plan reads the whole."""
    with backups.database.connect() as host:
        plant_log(host, 20_000)
    with prepared(backups) as snapshot:
        (log,) = (owned for owned in owned_tables(snapshot) if owned.table.name == "SYS_SystemLog")
        assert 'Seq Scan on "SYS_SystemLog"' not in plan(snapshot, log, "A")


def test_a_large_tenants_export_compares_no_list_of_keys_with_each_row(backups: Backups) -> None:
    """Such a list takes rows times people: minutes for 10,000 people."""
    with prepared(backups) as snapshot:
        # The tables of the test are so small that their plans read them whole.
        snapshot.execute("SET enable_seqscan = off")
        people = [owned for owned in owned_tables(snapshot) if owned.person_column]
        plans = {owned.table.name: plan(snapshot, owned, "A") for owned in people}
    assert len(plans) > 10
    filters = re.compile(r"Filter: .*= ANY \(")
    assert {name for name, text in plans.items() if filters.search(text)} == set()


def plan(snapshot: psycopg.Connection, owned: OwnedTable, tenant_id: str) -> str:
    rows = snapshot.execute(
        sql.SQL("EXPLAIN SELECT content.* FROM {} AS content WHERE {}").format(
            owned.table.identifier, owned.found_by_index("content", tenant_id)
        )
    ).fetchall()
    return "\n".join(line for (line,) in rows)


@pytest.mark.slow("takes and restores whole backups")
def test_a_shard_connects_once_for_all_its_tenants(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    with backups.database.connect() as host:
        for number in range(5):
            host_rows.tenant(host, f"T{number}")
    run, tenant_ids = backups.open()
    backups.first_steps(run)
    opened: list[str] = []
    connect = psycopg.connect

    def counted(*arguments: Any, **options: Any) -> Any:
        opened.append(str(arguments[0]))
        return connect(*arguments, **options)

    monkeypatch.setattr(psycopg, "connect", counted)
    report = backups.tenants_step(run, tenant_ids)

    assert (report.failures, len(report.results)) == ([], 8)
    # The ledger, a look at the databases, and the restored database. The test itself has the platform's and the tenants' connection.
    assert len(opened) == 3
    assert backups.close(run).status == "completed"


def test_a_restore_counts_new_rows_of_other_tables_whatever_their_time(
    taken: Backups,
) -> None:
    """Only a log's rows are written once; the application may give an old row of another table to the tenant."""
    backup_id = taken.newest
    with taken.database.connect() as host:
        host_rows.user(host, "A", "A-late")
        host.execute(
            "UPDATE \"MST_Employee\" SET created_at = %s WHERE id = 'emp_A-late'", [OLD - timedelta(days=900)]
        )
    with taken.server.connect() as connection:
        done = taken.restore_tenant(connection, backup_id, "A")
    assert {each.name: each.new for each in done.conflicts}["MST_Employee"] == 1
