"""One run of each of the 14 batches without Airflow, with real files, mails and services; and what of it can be compared."""

from __future__ import annotations

import gzip
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.batches.log_cleanup.batch import ROOTS_VARIABLE
from include.skillreport.core.catalog import BATCHES, DATA_BACKUP, TENANT_BILLING
from include.skillreport.core.execution.batch import create_batch
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.run_spec import WorksOn
from include.skillreport.schema.deletion import HOST_SCHEMA, TENANT_COLUMN
from local_stack.batch_runs import LocalInstallation, run_batch
from local_stack.stand_ins import StandInDirectory, StandIns
from tests.chaos.normalisation import IGNORED_TABLES, Names, normalised_row
from tests.conftest import Database
from tests.worlds.backups import Backups
from tests.worlds.documents import pages_of
from tests.worlds.outbox_rows import network, slack

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The rows of runs have the numbers of all tenants.
_UNCOMPARED = {*IGNORED_TABLES, "batch.execution_log", "batch.performance_metric"}


_FOLDER = re.compile(r"/[^\"]*/(?=reports/|invoices/|accounting/)")
_MADE_UP = re.compile(r"local [0-9a-f]{8}|\"shard\": \d+, ")


@dataclass(frozen=True)
class Nights:
    """The runs on one database. ``root`` is its store, ``logs`` a folder of log files."""

    database: Database
    root: Path
    logs: Path
    services: StandIns

    def run(self, day: date) -> dict[str, str]:
        """All batches on a day at nine, for the periods of that day; returns their statuses by id."""
        with (
            self.database.working() as (platform, tenants),
        ):
            installation = LocalInstallation(
                platform, tenants, ObjectStore(self.root), variables={ROOTS_VARIABLE: str(self.logs)}
            )
            statuses = {}
            for spec in BATCHES:
                if spec is DATA_BACKUP:
                    # It has steps of its own, and asserts that they are completed.
                    Backups(self.database, self.root).take(day)
                    statuses[spec.id] = "completed"
                    continue
                batch = create_batch(spec, installation)
                result = run_batch(
                    platform,
                    tenants,
                    spec,
                    batch,
                    _business_date(day, spec.works_on),
                    store=installation.object_store,
                    network=network(self.services),
                    run_at=datetime(day.year, day.month, day.day, 9, tzinfo=JAPAN),
                    run_id=f"night of {day}",
                    # A month has days that no run has closed.
                    parameters={"allow_incomplete": True} if spec is TENANT_BILLING else {},
                )
                statuses[spec.id] = result.status
            return statuses


def _business_date(day: date, works_on: WorksOn) -> date:
    yesterday = day - timedelta(days=1)
    return {
        WorksOn.RUN_DATE: day,
        WorksOn.YESTERDAY: yesterday,
        WorksOn.PREVIOUS_MONTH: (day.replace(day=1) - timedelta(days=1)).replace(day=1),
    }[works_on]


def connect_slack(host: psycopg.Connection, tenant_id: str, services: StandIns) -> None:
    """The tenant's Slack, with its employees."""
    slack(host, tenant_id, services)
    people = host.execute(
        """
        SELECT id, email, full_name FROM "MST_Employee" WHERE id IN (
            SELECT person_key FROM batch.all_person_key WHERE tenant_id = %s
        ) ORDER BY id
        """,
        [tenant_id],
    ).fetchall()
    members = [
        {"id": f"U{number:08}", "profile": {"email": email, "real_name": name}}
        for number, (_, email, name) in enumerate(people)
    ]
    services.show_directory(
        "slack",
        f"xoxb-{tenant_id}",
        StandInDirectory(pages=[members], channels=[{"id": "C0", "name": "all"}]),
    )


def rows_of(
    host: psycopg.Connection, tenant_ids: Collection[str], names: Names, without: Collection[str]
) -> dict[str, Counter[str]]:
    """All rows that name one of the tenants, by table, without the application's rows that contain one of the texts."""
    found = {}
    for schema, name in tables(host):
        table = f"{schema}.{name}"
        has_tenant = host.execute(
            "SELECT FROM information_schema.columns WHERE (table_schema, table_name, column_name) = (%s, %s, %s)",
            [schema, name, TENANT_COLUMN],
        ).rowcount
        if has_tenant and table not in _UNCOMPARED:
            rows = host.execute(
                sql.SQL("SELECT to_jsonb(own)::text FROM {} AS own WHERE tenant_id = ANY(%s)").format(
                    sql.Identifier(schema, name)
                ),
                [list(tenant_ids)],
            )
            found[table] = Counter(
                plain(normalised_row(table, text, names))
                for (text,) in rows
                if schema != HOST_SCHEMA or not any(each in text for each in without)
            )
    return found


def plain(text: str) -> str:
    """Without the folder of the test, the made-up names of runs, and how the tenants were grouped."""
    return _MADE_UP.sub("", _FOLDER.sub("", text))


def tables(host: psycopg.Connection) -> list[tuple[str, str]]:
    """The tables of both schemas."""
    return host.execute(
        """
        SELECT relnamespace::regnamespace::text, relname FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'batch'::regnamespace) AND relkind = 'r' ORDER BY 1, 2
        """
    ).fetchall()


def tables_with(host: psycopg.Connection, texts: Collection[str]) -> dict[str, list[str]]:
    """The texts that each table contains, without those that have none."""
    found = {}
    for schema, name in tables(host):
        rows = host.execute(
            sql.SQL(
                "SELECT text FROM unnest(%s::text[]) AS text WHERE EXISTS (SELECT FROM {} AS own WHERE strpos(own::text, text) > 0)"
            ).format(sql.Identifier(schema, name)),
            [list(texts)],
        ).fetchall()
        if rows:
            found[f"{schema}.{name}"] = [text for (text,) in rows]
    return found


def files_with(root: Path, texts: Collection[str]) -> dict[str, list[str]]:
    """The texts that each file below the folder contains, in its name too, without those that have none."""
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            content = f"{path.relative_to(root)}\n{_text(path)}"
            if texts_in := [text for text in texts if text in content]:
                found[str(path.relative_to(root))] = texts_in
    return found


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".pdf":
        return "".join(pages_of(content))
    unpack = {".zst": zstd.decompress, ".gz": gzip.decompress}.get(path.suffix, bytes)
    return unpack(content).decode(errors="replace")


def differences(one: Mapping[str, Counter[str]], other: Mapping[str, Counter[str]]) -> dict[str, list[str]]:
    """The rows that only one of them has, by table."""
    return {
        table: sorted(((one[table] - other[table]) + (other[table] - one[table])).elements())
        for table in one
        if one[table] != other[table]
    }
