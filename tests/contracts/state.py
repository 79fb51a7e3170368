"""What a run has left: all rows of the database, all files, and the messages that arrived."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from local_stack.stand_ins import Arrived
from tests.contracts.case import World
from tests.worlds.shared_database import TABLES

FILES, MESSAGES = "files", "messages"

# A token of the board, which may have any letter.
_TOKEN = re.compile(r'"[\w-]{43}"')

# Every run writes them.
OF_RUNS: Mapping[str, str] = {
    "batch.execution_log": "a row for each run",
    "batch.tenant_outcome": "the run's outcomes",
    "batch.performance_metric": "the run's time",
    "batch.task_metric": "the time and memory of its tasks",
    "batch.task_opening": "the tries of its tasks",
    "batch.rows_scanned": "what it has read",
    "batch.run_remark": "its remarks",
    "batch.sync_plan": "its plans",
    "batch.reconciliation": "what it has counted",
    "batch.operator_alert": "its alerts",
    "batch.known_key": "the key of the installation's secrets, by the first run",
    "batch.host_source": "how far the application's tables were read",
    "batch.host_index": "which indexes the application has",
    "batch.person_key": "whom the application's rows name",
    "batch.people_state": "how far its people were read",
    "batch.activity_reading": "which hours of its logs were read",
    "batch.activity_hour": "what they contain, for all tenants and the next readers",
    "batch.last_action": "each person's last action in them",
    "batch.last_action_state": "how far they were read for this",
}


# Their rows change exactly if these files do.
OF_FILES: Mapping[str, str] = {"batch.provisional_file": FILES}

# Their rows name no tenant and depend on several.
OF_ALL_TENANTS: Mapping[str, str] = {
    "batch.invoice_counter": "the numbers of all tenants' invoices",
    "batch.bank_transfer": "a transfer may be for several tenants",
    "batch.provisional_file": "a file has the documents of all tenants",
}


@dataclass(frozen=True)
class State:
    """``rows`` are those of each table as JSON, sorted; ``files`` by their paths; ``messages`` in the order in which they arrived."""

    rows: Mapping[str, Sequence[str]]
    files: Mapping[str, bytes]
    messages: Sequence[Arrived]

    def changed_since(self, before: State) -> set[str]:
        """The tables that differ, without those of runs; FILES if they differ, and MESSAGES if new ones arrived."""
        tables = {
            OF_FILES.get(table, table) for table in self.rows if self.rows[table] != before.rows[table]
        } - OF_RUNS.keys()
        others = {FILES: self.files == before.files, MESSAGES: len(self.messages) == len(before.messages)}
        return tables | {name for name, is_same in others.items() if not is_same}

    def of_tenant(self, tenant_id: str) -> State:
        """The rows and files of one tenant. The keys of its people, and the names of its files, begin or end with the tenant's id."""
        named = re.compile(rf"(?<![A-Za-z]){tenant_id}(?![A-Za-z]|-[0-9a-f]{{20}})")
        rows = {
            table: [row for row in found if named.search(_TOKEN.sub("", row))]
            for table, found in self.rows.items()
        }
        files = {path: content for path, content in self.files.items() if named.search(path)}
        return State(rows, files, ())


def read_state(world: World) -> State:
    """The state now."""
    query = _all_rows(world.host)
    rows: dict[str, list[str]] = {}
    for table, found in world.host.execute(query):
        rows[table] = sorted(found)
    files = {
        str(path.relative_to(world.folder)): path.read_bytes()
        for path in sorted(world.folder.rglob("*"))
        if path.is_file()
    }
    return State(rows, files, [*world.services.messages])


_queries: dict[str, sql.Composed] = {}


def _all_rows(host: psycopg.Connection) -> sql.Composed:
    """One statement for all tables: a backend plans it once."""
    name = host.info.dbname
    if name not in _queries:
        parts: list[Any] = [
            sql.SQL("SELECT {}, array(SELECT to_jsonb(found)::text FROM {} AS found)").format(
                f"{schema}.{table}", sql.Identifier(schema, table)
            )
            for schema, table in host.execute(TABLES)
        ]
        _queries[name] = sql.SQL(" UNION ALL ").join(parts)
    return _queries[name]
