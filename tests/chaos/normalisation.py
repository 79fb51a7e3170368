"""All that may differ between two runs of a batch on the same data, with the reason. Everything else must be equal.

The tables of this module list tables, columns, files and alerts that are not compared. In texts, these are replaced:

* The ids of runs, messages and invoices become names of what they stand for, so references to them are compared. All other ids that look
  like a UUID, like an execution id or like the id of a contract's change become ``<id>``: references to them are not compared.
* A time at or after the start of the run becomes ``<now>``. The number of a task's attempt, and the seconds of a result, are replaced too.

``end_state.py`` applies these rules:

* A letter that came twice under one Message-ID is one letter. An alert that came twice over HTTP with one id is one alert.
* A message that a killed sender had claimed may be lost, and never comes twice. An e-mail is sent again, so it must arrive.
* While messages were in flight, these rows are not compared: those of the message, those that count messages of its tenant
  (``_COUNTING_TENANTS``), and all rows of ``batch.execution_log`` and ``batch.performance_metric``.
* While messages were in flight, alerts and results of BATCH-019-02 may have another text. If one is in doubt, BATCH-019-02 sends one more
  alert over each channel; without it the trial differs.
* A run that has failed more often than the undisturbed run sends alerts about that. Over each channel there are at most as many further
  alerts 「バッチ実行失敗」 as further failures, as many results, and as many digests with other lines. Without an alert the trial differs.
* An alert may come twice if the second one is marked as a repeat （再送）.
* Alerts of the run that sends waiting alerts are left out (``with_later_alerts``).
* An attempt of ``open_run`` that was killed after its commit leaves its row of ``batch.execution_log``, which the next attempt closes as an
  orphan, and the row's outcomes. These rows are not compared (``superseded_runs``).
* Rows of tables that the run has not touched are not listed, but a digest says that they are as before.

Numbers of invoices
    An invoice gets the next number of its month when it is finalised. A tenant that a kill has delayed gets a later number, and another
    tenant gets the earlier one. This is right. So each number that was given since the start of the run is replaced by a name: the
    tenant, and which of the tenant's documents of that kind and month it is. All numbers together are compared apart, so a gap, a double
    or a number too many is a difference. What follows from the number:

    * ``NUMBERED_FILES``: lists sorted by number. Their lines are compared as a set.
    * PDFs: the compressed streams depend on the digits. The text of all pages and the document information are compared. A PDF
      without a new number is compared byte by byte.
    * SHA-256 and size of a file with a new number: replaced by the file's name, if they are those of a file that is there.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import psycopg
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from local_stack.stand_ins import Arrived
from tests.worlds.documents import pages_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Tables that are not compared.
IGNORED_TABLES: dict[str, str] = {
    "batch.task_metric": "the time and memory of processes; a killed process records none",
    "batch.task_opening": "the tries of tasks; a killed one has another",
    "batch.operator_alert": "alerts are compared as they arrive; one that does not arrive is `left behind`",
}

# Columns that are not compared, by table, with the reason.
IGNORED_COLUMNS: dict[str, dict[str, str]] = {
    "batch.execution_log": {"attempt": "how often the run was cleared"},
    "batch.tenant_outcome": {"attempts": "how often the tenant was processed"},
    "batch.rows_scanned": {
        "row_count": "what all attempts have read: an attempt that prepares tenants again, or in other groups, reads more or fewer rows. "
        "The rows that the run has used are compared."
    },
    "batch.outbox": {"provider_message_id": "the service makes it up from the time"},
    "batch.performance_metric": {
        "execution_seconds": "time",
        "cpu_seconds": "time",
        "peak_memory_bytes": "memory",
        "is_comparable": "a cleared run keeps that of its first closing, as its time",
    },
    "batch.backup": {
        "dump_bytes": "the dump has the rows of the running batch, and times",
        "total_bytes": "as dump_bytes",
        "dump_sha256": "the digest of the dump's files",
        "manifest_sha256": "the manifest has the digest of the dump",
    },
    "batch.offboarding": {"export_bytes": "as dump_bytes", "manifest_sha256": "as in batch.backup"},
    "batch.deleted_tenant": {"export_bytes": "as dump_bytes"},
    "batch.deleted_row_archive": {
        "archive": "its name has a part of the digest",
        "manifest_sha256": "the manifest names the run",
    },
    "public.SYS_BackupHistory": {
        "checksum": "as manifest_sha256",
        "backup_file_size": "as dump_bytes",
    },
    "batch.directory_change": {"change_id": "a sequence: numbers of rolled back transactions are lost"},
}

# Tables without the rows of an attempt of ``open_run`` that was killed.
TABLES_OF_RUNS = ("batch.execution_log", "batch.tenant_outcome")

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?")
_UUID = r"(?<![0-9a-f])[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}(?![0-9a-f])"
_CHANGE_ID = r"\bC-[0-9a-f]{20}\b"
_EXECUTION_ID = r"\b[A-Z]+(?:-[A-Z0-9]+)+_\d{8}_[0-9a-f]{8}\b"
# Files of which only the name is compared, with the reason.
UNCOMPARED_FILES: dict[re.Pattern[str], str] = {
    re.compile(
        r"/backups/[^/]+/dump"
    ): "pg_dump writes its time, and the rows of the running batch are in it. The batch restores the dump "
    "and counts its rows before it says `verified`, and this status is compared.",
    re.compile(r"/backups/.*manifest\.json(?:\.mac)?$"): "sizes and digests of the dump",
    re.compile(r"/(?:offboarding|deleted_tenants)/.*manifest"): "as that of a backup",
    re.compile(r"/customer\.zip\.age$"): "encryption is random",
    re.compile(r"/deleted_tenants/.*\.pdf$"): "the certificate has the digest of the manifest",
}

# Alerts that are not compared, by the beginning of their title.
UNCOMPARED_ALERTS: dict[str, str] = {
    "バッチ性能低下": "it depends on how long the run took; a run of the trials is slower than the demo's history",
}

# In the name of an archive's manifest: its digest, and the manifest names the run.
_DIGEST_IN_NAME = re.compile(r"-[0-9a-f]{12}(?=\.manifest\.json$)")

_TEXTS = (".zst", ".gz", ".json", ".csv", ".txt")
_PDF = ".pdf"

# In the link of an alert to a task's log.
_TRY = re.compile(r"(try_number=)\d+")

# How long a run took, in its result that is sent over HTTP.
_SECONDS = re.compile(r'("seconds": ?)[\d.e-]+')

_NUMBER = r"\b(?:INV|CRN)-\d{4}-\d\d-\d{3,}"
_SHA256 = r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"
_ID = re.compile(f"{_UUID}|{_EXECUTION_ID}|{_CHANGE_ID}")
_NUMBER_OR_SHA256 = re.compile(f"{_NUMBER}|{_SHA256}")

# Lists that are sorted by number. The value is the column of the entry's position in the file, which so depends on the number too.
NUMBERED_FILES: dict[re.Pattern[str], str | None] = {
    re.compile(r"/invoices/[^/]+/index\.csv$"): None,
    re.compile(r"/accounting/[^/]+/(?:accounting|journal|freee)-[^/]+\.csv$"): None,
    re.compile(r"/accounting/[^/]+/moneyforward-[^/]+\.csv$"): "取引No",
}

# As batch.rows_scanned, in the result of a run: what was read, beside what was used.
_READ, _USED = "read", "used"

# In the outcome of a tenant's export: the digest of its manifest, and the export has the rows of the running batch.
_EXPORT = "manifest"

# What a file is kept with, in a row or an object about it.
_SIZE, _DIGEST = "bytes", "sha256"


@dataclass(frozen=True)
class Names:
    """Names for what a run has made up, so that references between rows are compared too. Times since the start are equal.

    ``ids`` are names of ids, ``numbers`` of the numbers that were given since the start. ``files`` has the name and the size of a file with
    such a number, by its SHA-256.
    """

    started_at: datetime
    ids: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def load(cls, host: psycopg.Connection, started_at: datetime) -> Names:
        """The ids of runs, messages and invoices, and the new numbers. The key of a message may name its run."""
        runs = "SELECT execution_id, 'run ' || dag_id || ' ' || run_id FROM batch.execution_log"
        others = """
            SELECT message_id, 'message ' || tenant_id || ' ' || dedupe_key FROM batch.outbox
            UNION ALL SELECT invoice_id, concat_ws(' ', 'invoice', tenant_id, kind, number) FROM batch.invoice
        """
        # The month stays in the name. A tenant's numbers are in the order of its documents.
        numbers = """
            SELECT number, regexp_replace(number, '[0-9]+$', '') || '<' || concat_ws(' ', tenant_id, kind, period_start, row_number()
                OVER (PARTITION BY tenant_id, kind, period_start ORDER BY length(number), number)) || '>'
            FROM batch.invoice WHERE number IS NOT NULL AND finalized_at >= %s
        """
        named = cls(
            started_at,
            dict(host.execute(runs).fetchall()),
            dict(host.execute(numbers, [started_at]).fetchall()),
        )
        return replace(
            named, ids={**named.ids, **{key: named.normalise(name) for key, name in host.execute(others)}}
        )

    def with_files(self, files: Iterable[tuple[str, bytes]]) -> Names:
        """With the digests of those of the files that have a new number."""
        found = {
            hashlib.sha256(content).hexdigest(): (self.normalise(name), len(content))
            for name, content in files
            if self.has_number(_text(name, content))
        }
        return replace(self, files=found)

    def has_number(self, text: str | None) -> bool:
        """Whether the text has a number that was given since the start."""
        found = _NUMBER_OR_SHA256.findall(text or "")
        return any(number in self.numbers for number in found)

    def normalise(self, text: str) -> str:
        """The text with names for ids and new numbers, and without the times since the start."""
        text = _ID.sub(lambda found: f"<{self.ids.get(found[0], 'id')}>", text)
        text = _NUMBER_OR_SHA256.sub(self._number, text)
        text = _TRY.sub(r"\1<number>", text)
        return _TIME.sub(self._time, _SECONDS.sub(r"\1<seconds>", text))

    def normalise_json(self, value: Any) -> Any:
        """A JSON value with normalised texts. The size of a file with a new number is replaced if it is right."""
        if isinstance(value, str):
            return self.normalise(value)
        if isinstance(value, list):
            return [self.normalise_json(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {name: self.normalise_json(each) for name, each in value.items() if name != _EXPORT}
        name, size = self.files.get(str(value.get(_DIGEST)), ("", None))
        if name and value.get(_SIZE) == size:
            kept[_SIZE] = f"<size of {name}>"
        if value.keys() == {_READ, _USED}:
            kept[_READ] = "<rows>"
        return kept

    def _number(self, found: re.Match[str]) -> str:
        if found[0] in self.files:
            return f"<digest of {self.files[found[0]][0]}>"
        return self.numbers.get(found[0], found[0])

    def _time(self, found: re.Match[str]) -> str:
        text = found[0].replace(" ", "T", 1).replace(" ", "")
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        # A run that prepares this one may have ended in the same second.
        started_at = self.started_at if "." in text else self.started_at.replace(microsecond=0)
        return "<now>" if moment >= started_at else found[0]


def superseded_runs(host: psycopg.Connection) -> frozenset[str]:
    """The ids of the rows of the execution log that a later attempt of ``open_run`` has closed as orphans."""
    query = """
        SELECT execution_id FROM batch.execution_log AS orphan
        WHERE status = 'failed' AND error_message LIKE '孤立した実行として失敗にしました: %' AND EXISTS (
            SELECT FROM batch.execution_log AS later
            WHERE (later.dag_id, later.run_id, later.batch_id) = (orphan.dag_id, orphan.run_id, orphan.batch_id)
                AND later.started_at > orphan.started_at
        )
    """
    return frozenset(execution_id for (execution_id,) in host.execute(query))


def normalised_row(table: str, text: str, names: Names) -> str:
    """One row as JSON."""
    ignored = IGNORED_COLUMNS.get(table, {})
    row: dict[str, Any] = json.loads(text)
    row = {name: value for name, value in row.items() if name not in ignored}
    return json.dumps(names.normalise_json(row), ensure_ascii=False)


def normalised_file(name: str, content: bytes, names: Names) -> tuple[str, bytes | None]:
    """The name and the content of a file; None for content that is not compared."""
    key, name = name, _DIGEST_IN_NAME.sub("-<digest>", names.normalise(name))
    if any(pattern.search(name) for pattern in UNCOMPARED_FILES):
        return name, None
    text = _text(key, content)
    if text is None or (key.endswith(_PDF) and not names.has_number(text)):
        return name, content
    if names.has_number(text):
        for pattern, position in NUMBERED_FILES.items():
            if pattern.search(key):
                text = _as_set_of_lines(text, position)
                return name, "\n".join(sorted(names.normalise(text).split("\n"))).encode()
    return name, names.normalise(text).encode()


# The documents of trials are mostly the same, and reading one takes long.
@lru_cache(maxsize=200)
def _text(name: str, content: bytes) -> str | None:
    """The text of a file, or None if it has none."""
    try:
        if name.endswith(_PDF):
            document = PdfReader(io.BytesIO(content))
            return "\f".join([str(document.metadata), *pages_of(content)])
        if name.endswith(".zst"):
            content = zstd.decompress(content)
        elif name.endswith(".gz"):
            content = gzip.decompress(content)
        return content.decode() if name.endswith(_TEXTS) else None
    except (PyPdfError, zstd.ZstdError, EOFError, OSError, UnicodeDecodeError):
        # Half a file is compared byte by byte.
        return None


def _as_set_of_lines(text: str, position: str | None) -> str:
    """Each row of a CSV file on a line, as JSON; a position is replaced by the numbers of its rows, and all positions follow in a line."""
    rows = list(csv.reader(io.StringIO(text, newline="")))
    ends = [text.count(end) for end in ("\r\n", "\n")]
    column = rows[0].index(position) if position else None
    positions = [] if column is None else [row[column] for row in rows[1:]]
    if column is not None:
        numbers = {
            place: sorted(
                {
                    found
                    for row in rows
                    if row[column] == place
                    for found in re.findall(_NUMBER, " ".join(row))
                }
            )
            for place in positions
        }
        for row in rows[1:]:
            row[column] = f"position of {numbers[row[column]]}"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return "\n".join([*lines, f"positions {sorted(set(positions))}", f"line ends {ends}"])


def is_compared(alert: Arrived) -> bool:
    """Whether the alert has to be the same."""
    title = alert.subject or alert.text
    return not any(each in title for each in UNCOMPARED_ALERTS)


def normalised_alert(message: Arrived, names: Names) -> str:
    """An alert, by its channel and text. The mark of a second attempt stays."""
    return names.normalise(f"{message.channel}: {message.subject}: {message.text}")
