"""The end state of a run: rows, files, messages, alerts, locks, leases and temporary files; and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from local_stack.stand_ins import Arrived
from local_stack.stand_ins.http_services import WORKFLOW_ID, card_text
from tests.chaos.airflow_parts import AirflowParts
from tests.chaos.demo_installation import OPERATORS, DemoInstallation
from tests.chaos.normalisation import (
    IGNORED_TABLES,
    TABLES_OF_RUNS,
    Names,
    is_compared,
    normalised_alert,
    normalised_file,
    normalised_row,
    superseded_runs,
)

# A difference lists this many rows.
_SHOWN = 4
_WIDTH = 400

# Tables whose rows count the messages of a run, or of a run's tenant.
_COUNTING_RUNS = ("batch.execution_log", "batch.performance_metric")
_COUNTING_TENANTS = ("batch.tenant_outcome", "batch.reconciliation", "batch.run_remark")

_WAITING_ALERT = "alert waits: "

# Instead of the rows of a table that is as before the run.
_UNCHANGED = Counter({"as before the run": 1})

# The mark of an alert of which nobody knows whether it has arrived before.
_AGAIN = "（再送）"

# In the title of an alert about a failed attempt, and of the result of an attempt.
_FAILURE, _RESULT = "バッチ実行失敗", "バッチ実行結果"

_NUMBER = re.compile(r"\d+")

# The run of a trial that sends the alerts that waited.
LATER_RUN = "after-alerts"


@dataclass(frozen=True)
class InFlight:
    """A message that a killed sender had claimed. Nobody knows whether it has arrived. ``message`` is how it arrives."""

    tenant_id: str
    dedupe_key: str
    host_log_id: str | None
    message: Arrived

    @classmethod
    def from_outbox(cls, row: Mapping[str, Any]) -> InFlight:
        """The message of a row of ``batch.outbox``."""
        channel, destination, text = row["channel"], row["destination"], row["body"]
        if channel == "teams":
            # The row does not have the workflow. The stand-in has one.
            destination = WORKFLOW_ID
            text = card_text({"body": row["rich"] or [{"text": row["subject"]}, {"text": text}]})
        return cls(
            row["tenant_id"], row["dedupe_key"], row["host_log_id"], Arrived(channel, destination, text)
        )

    def normalised(self, names: Names) -> InFlight:
        """With the keys of the normalised rows. A key may have the id of a run or of another message."""
        log_id = None if self.host_log_id is None else names.normalise(self.host_log_id)
        return replace(self, dedupe_key=names.normalise(self.dedupe_key), host_log_id=log_id)

    @property
    def is_sent_again(self) -> bool:
        """Whether BATCH-019-02 sends it again after the lease. For the other channels it asks an operator."""
        return self.message.channel == "email"

    def is_about(self, table: str, row: Mapping[str, Any]) -> bool:
        """Whether the row says how the message ended, or counts it."""
        if table in _COUNTING_RUNS:
            return True
        if table in _COUNTING_TENANTS:
            return bool(row.get("tenant_id") == self.tenant_id)
        if table == "batch.outbox":
            return (row["tenant_id"], row["dedupe_key"]) == (self.tenant_id, self.dedupe_key)
        return table == "public.HIS_NotificationLog" and row["id"] == self.host_log_id


def end_leases(host: psycopg.Connection) -> list[InFlight]:
    """End the leases of a killed sender; returns the messages that it had in its hands."""
    query = """
        UPDATE batch.outbox SET lease_until = now() - interval '1 second' WHERE status = 'sending'
        RETURNING tenant_id, dedupe_key, host_log_id, channel, destination, subject, body, rich
    """
    with host.cursor(row_factory=dict_row) as cursor:
        return [InFlight.from_outbox(row) for row in cursor.execute(query)]


@dataclass(frozen=True)
class EndState:
    """Normalised. ``rows`` by table, ``files`` as name and digest, the others as text.

    ``numbers`` are the numbers of all invoices; elsewhere new ones are replaced by names. ``in_doubt`` are the messages that may be lost.
    """

    rows: Mapping[str, Counter[str]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    in_doubt: Counter[str] = field(default_factory=Counter)
    alerts: Sequence[str] = ()
    left: Sequence[str] = ()
    runs: Sequence[str] = ()
    in_flight: Sequence[InFlight] = ()


def differences(reference: EndState, trial: EndState, *, more_failures: int = 0) -> list[str]:
    """What differs. ``more_failures``: how many more attempts of the run have failed than in the reference. Each sends an alert.

    ``normalisation.py`` lists what may differ.
    """
    flight = trial.in_flight
    lost = (reference.messages - trial.messages) & trial.in_doubt
    return [
        *(
            line
            for table in sorted({*reference.rows, *trial.rows})
            for line in _counted(
                table,
                _beside(flight, table, reference.rows.get(table, Counter())),
                _beside(flight, table, trial.rows.get(table, Counter())),
            )
        ),
        *_counted("number", reference.numbers, trial.numbers),
        *_counted("file", reference.files, trial.files),
        *_counted("message", reference.messages - lost, trial.messages),
        *_counted("run of Airflow", Counter(reference.runs), Counter(trial.runs)),
        *_alert_differences(reference.alerts, trial, more_failures),
        *(f"left behind: {text}" for text in trial.left),
    ]


def _beside(flight: Sequence[InFlight], table: str, rows: Counter[str]) -> Counter[str]:
    """The rows that say nothing about messages in flight."""
    if not flight or rows == _UNCHANGED:
        return rows
    return Counter(
        {
            text: count
            for text, count in rows.items()
            if not any(message.is_about(table, json.loads(text)) for message in flight)
        }
    )


def digests(host: psycopg.Connection) -> dict[str, tuple[int, int]]:
    """Of all rows of each table, to tell which tables a run has not touched."""
    found = {}
    for table in _tables(host):
        query = sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended(found::text, 0)), 0)::text FROM {} AS found"
        ).format(sql.Identifier(*table.split(".")))
        rows, digest = host.execute(query).fetchone() or (0, "0")
        found[table] = (int(rows), int(digest))
    return found


def read_end_state(
    installation: DemoInstallation,
    airflow: AirflowParts,
    messages: Sequence[Arrived],
    started_at: datetime,
    before: Mapping[str, tuple[int, int]],
    in_flight: Sequence[InFlight] = (),
) -> EndState:
    """The end state now. Times from ``started_at`` on are normalised. ``before``: ``digests`` at the start."""
    stack = installation.stack
    folders = {"storage": stack.storage, "logs": stack.application_logs}
    with installation.connect() as host:
        found = end_state_of(host, folders, installation.temporary, messages, started_at, before, in_flight)
    return replace(found, runs=_runs(airflow))


def end_state_of(
    host: psycopg.Connection,
    folders: Mapping[str, Path],
    temporary: Path,
    messages: Sequence[Arrived],
    started_at: datetime,
    before: Mapping[str, tuple[int, int]] | None = None,
    in_flight: Sequence[InFlight] = (),
) -> EndState:
    """The end state without Airflow. ``folders`` are the folders of files by name. Rows of tables that are as ``before`` are not listed."""
    tables = _tables(host)
    now = digests(host) if before else {}
    changed = [table for table in tables if not before or before.get(table) != now[table]]
    rows = _rows(host, changed)
    found = _files(folders)
    names = Names.load(host, started_at).with_files(found)
    return EndState(
        numbers=_numbers(host),
        rows={
            table: Counter(normalised_row(table, row, names) for row in rows[table])
            if table in rows
            else _UNCHANGED
            for table in tables
        },
        files=Counter(_name_and_digest(*normalised_file(*file, names)) for file in found),
        messages=_messages([each for each in messages if not _is_for_operators(each)], names),
        in_doubt=_messages([each.message for each in in_flight if not each.is_sent_again], names),
        alerts=_alerts(messages, names),
        in_flight=[each.normalised(names) for each in in_flight],
        left=[*_locks(host), *_leases(host), *_temporary(temporary)],
    )


def _counted(kind: str, reference: Counter[str], trial: Counter[str]) -> list[str]:
    missing, added = (sorted(found.elements()) for found in (reference - trial, trial - reference))
    lines = []
    for text in missing[:_SHOWN]:
        changed = _changed_fields(text, added)
        lines.append(f"  - {text[:_WIDTH]}")
        lines += [f"    {changed}"] if changed else []
    lines[:0] = [f"{kind}: {len(missing)} missing"] if missing else []
    if added:
        lines.append(f"{kind}: {len(added)} too many")
        lines += [f"  + {text[:_WIDTH]}" for text in added[:_SHOWN]]
    return lines


def _changed_fields(text: str, others: Sequence[str]) -> str:
    """Where the most similar of the other rows differs; empty if there is none, or the text is no row."""
    if not text.startswith("{") or not others:
        return ""
    row = json.loads(text)
    rows = [json.loads(other) for other in others]
    closest = min(rows, key=lambda other: sum(other.get(name) != value for name, value in row.items()))
    changed = [name for name, value in row.items() if closest.get(name) != value]
    return "; ".join(f"{name}: {row[name]!r} is {closest.get(name)!r}" for name in changed)[:_WIDTH]


def _alert_differences(reference: Sequence[str], trial: EndState, more_failures: int) -> list[str]:
    """Each alert of the reference arrives. Others are of failed attempts, or of BATCH-019-02 about messages in flight.

    An alert may come twice if the second one is marked as such. The marked ones are counted apart from the others.
    """
    expected = Counter(reference)
    marked = Counter(text.replace(_AGAIN, "") for text in trial.alerts if _AGAIN in text)
    unmarked = Counter(text for text in trial.alerts if _AGAIN not in text)
    missing = expected - (marked + unmarked)
    changed = Counter(
        {text: count for text, count in missing.items() if trial.in_flight and _is_of_retry(text)}
    )
    lines = [
        f"alert missing: {_new_lines(text, trial.alerts)}" for text in sorted((missing - changed).elements())
    ]
    # Messages in doubt make BATCH-019-02 fail once more.
    limits = _AlertLimits(expected, more_failures, changed, has_doubts=bool(trial.in_doubt))
    for arrived in (unmarked, marked):
        lines += limits.exceeded(arrived - expected)
    failures = [text for text in (unmarked + marked) - expected if _FAILURE in _title(text)]
    if more_failures and not failures:
        lines.append("a run has failed, and no alert came")
    if trial.in_doubt and not any(map(_is_of_retry, failures)):
        lines.append("messages are in doubt, and no alert came")
    return lines


@dataclass(frozen=True)
class _AlertLimits:
    """How many alerts may come that the reference does not have.

    A failed attempt sends at most one alert about the failure, one result and one digest over each channel. ``changed`` are the alerts of
    the reference that come with another text, because messages were in flight.
    """

    expected: Counter[str]
    more_failures: int
    changed: Counter[str]
    has_doubts: bool

    def exceeded(self, surplus: Counter[str]) -> Iterator[str]:
        """A line for each alert above the limits."""
        used = Counter[tuple[str, str]]()
        used_by_retry = Counter[tuple[str, str]]()
        for text in sorted(surplus.elements()):
            key = _channel(text), self._kind(text)
            if _is_of_retry(text) and used_by_retry[key] < self._limit_of_retry(key):
                used_by_retry[key] += 1
            elif key[1] and used[key] < self.more_failures:
                used[key] += 1
            elif text in self.expected:
                yield f"alert repeated: {text[:_WIDTH]}"
            elif self.more_failures:
                yield f"more alerts than failures: {_new_lines(text, self.expected)}"
            else:
                yield f"alert although nothing has failed: {_new_lines(text, self.expected)}"

    def _kind(self, text: str) -> str:
        """What the alert is about; empty for one that no failed attempt sends."""
        for kind in (_FAILURE, _RESULT):
            if kind in _title(text):
                return kind
        # A digest is sent again only with another text. Its title may count.
        titles = {_NUMBER.sub("0", _title(each)) for each in self.expected if each != text}
        return "digest" if text not in self.expected and _NUMBER.sub("0", _title(text)) in titles else ""

    def _limit_of_retry(self, key: tuple[str, str]) -> int:
        changed = sum((_channel(text), self._kind(text)) == key for text in self.changed.elements())
        return changed + (self.has_doubts and key[1] == _FAILURE)


def _channel(alert: str) -> str:
    return alert.partition(":")[0]


def _title(alert: str) -> str:
    return alert.partition("\n")[0]


def _is_of_retry(alert: str) -> bool:
    return NOTIFICATION_RETRY.id in _title(alert)


def _new_lines(text: str, others: Iterable[str]) -> str:
    """The first line of an alert, and those that no other alert has."""
    known = {line for other in others for line in other.splitlines()}
    first, *rest = text.splitlines()
    return " / ".join([first, *(line for line in rest if line not in known)])[:_WIDTH]


def _is_for_operators(message: Arrived) -> bool:
    return message.channel == "alerts" or (message.channel, message.destination) in OPERATORS


def _tables(host: psycopg.Connection) -> list[str]:
    query = """
        SELECT relnamespace::regnamespace::text || '.' || relname FROM pg_class
        WHERE relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'batch'::regnamespace) ORDER BY 1
    """
    return [name for (name,) in host.execute(query) if name not in IGNORED_TABLES]


def _rows(host: psycopg.Connection, tables: Sequence[str]) -> dict[str, list[str]]:
    """The rows of these tables as JSON, without those of attempts of ``open_run`` that were killed. It is one statement."""
    rows: dict[str, list[str]] = {table: [] for table in tables}
    if tables:
        for table, row in host.execute(_query(tuple(tables)), {"superseded": list(superseded_runs(host))}):
            rows[table].append(row)
    return rows


# The many trials of a test read the same tables.
@lru_cache(maxsize=8)
def _query(tables: Sequence[str]) -> bytes:
    part = sql.SQL("SELECT {}, to_jsonb(found)::text FROM {} AS found")
    without_superseded = sql.SQL(" WHERE execution_id <> ALL(%(superseded)s)")
    return (
        sql.SQL(" UNION ALL ")
        .join(
            part.format(table, sql.Identifier(*table.split(".")))
            + (without_superseded if table in TABLES_OF_RUNS else sql.SQL(""))
            for table in tables
        )
        .as_bytes()
    )


def _numbers(host: psycopg.Connection) -> Counter[str]:
    query = "SELECT number FROM batch.invoice WHERE number IS NOT NULL"
    return Counter(number for (number,) in host.execute(query))


def _files(folders: Mapping[str, Path]) -> list[tuple[str, bytes]]:
    """All files with their content, by a name that begins with the name of the folder."""
    return [
        (f"{kind}/{path.relative_to(root)}", path.read_bytes())
        for kind, root in folders.items()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]


def _name_and_digest(name: str, content: bytes | None) -> str:
    """Without content, only that the file is there is compared."""
    return f"{name} {hashlib.sha256(content).hexdigest()[:16] if content is not None else 'present'}"


def _messages(messages: Iterable[Arrived], names: Names) -> Counter[str]:
    """By destination and content. A letter that came twice under one Message-ID is one letter: mail programs show it once."""
    letters = set[str]()
    counted = Counter[str]()
    for each in messages:
        message_id = each.headers.get("Message-ID")
        if message_id and message_id in letters:
            continue
        letters.update([message_id] if message_id else [])
        counted[names.normalise(f"{each.channel} {each.destination}: {each.subject}: {each.text}")] += 1
    return counted


def _alerts(messages: Iterable[Arrived], names: Names) -> list[str]:
    """The operators' messages. One that came twice over HTTP with the same id is one."""
    keys = set[str]()
    found = []
    for each in messages:
        key = each.headers.get("webhook-id")
        if _is_for_operators(each) and is_compared(each) and (key is None or key not in keys):
            keys.update([key] if key else [])
            found.append(normalised_alert(each, names))
    return found


def with_later_alerts(
    found: EndState, host: psycopg.Connection, messages: Sequence[Arrived], started_at: datetime
) -> EndState:
    """The same end state after a later run has sent the alerts that waited. The alerts of that run are not part of it."""
    names = Names.load(host, started_at)
    left = [line for line in found.left if not line.startswith(_WAITING_ALERT)]
    # The links of an alert, and the fields of a result over HTTP, name the run.
    alerts = _alerts([each for each in messages if LATER_RUN not in f"{each.text} {each.rich}"], names)
    return replace(
        found, alerts=alerts, left=left + [line for line in _leases(host) if line.startswith(_WAITING_ALERT)]
    )


def has_waiting_alerts(found: EndState) -> bool:
    """Whether alerts wait for the next run of any batch."""
    return any(line.startswith(_WAITING_ALERT) for line in found.left)


def _locks(host: psycopg.Connection) -> list[str]:
    query = """
        SELECT coalesce(usename, '?'), locktype, state FROM pg_locks
        INNER JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    locks = [f"{locktype} lock of {user} ({state})" for user, locktype, state in host.execute(query)]
    query = """
        SELECT usename, state, left(query, 80) FROM pg_stat_activity
        WHERE datname = current_database() AND usename LIKE 'batch%%' AND usename <> 'batch_board'
    """
    return locks + [f"session of {user} ({state}): {text}" for user, state, text in host.execute(query)]


def _leases(host: psycopg.Connection) -> list[str]:
    query = """
        SELECT 'message under a lease: ' || dedupe_key FROM batch.outbox WHERE status = 'sending'
        UNION ALL SELECT 'sender of a limit: ' || owner FROM batch.limit_sender
        UNION ALL SELECT 'alert waits: ' || alert_key FROM batch.operator_alert WHERE delivered_at IS NULL
        UNION ALL SELECT 'run still open: ' || batch_id FROM batch.execution_log WHERE status = 'running'
    """
    return [text for (text,) in host.execute(query)]


def _temporary(folder: Path) -> list[str]:
    return [
        f"temporary file {path.relative_to(folder)}" for path in sorted(folder.rglob("*")) if path.is_file()
    ]


def _runs(airflow: AirflowParts) -> list[str]:
    """The runs that other runs have started, for example to ask for an approval."""
    with psycopg.connect(airflow.metadata_dsn) as metadata:
        found = metadata.execute("SELECT dag_id, state FROM dag_run WHERE dag_id NOT LIKE 'batch%%'")
        return [f"{dag_id} {state}" for dag_id, state in found]
