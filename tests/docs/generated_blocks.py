"""The parts of README and pages that repeat the registry: made from the registry, and written between two comments of the page.

A page says ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- end -->``; what is between them is made here. ``test_generated_blocks``
compares, and renews the pages with ``UPDATE_SNAPSHOTS=1``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from skill_batch.metrics import METRICS, PREFIX
from skill_batch.notifiers.alert_kinds import ALERT_KINDS
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import BATCHES, OPERATIONS, BatchSpec, OperationSpec, WorksOn
from include.skillreport.core.failure_kinds import failure_kinds
from include.skillreport.core.settings import default_files
from include.skillreport.operations.forms import INVOICES, NOTIFICATIONS, RESTORE, UNDO, OperationForm
from tests.airflow_installation import PROJECT
from tests.batches.data_management.test_row_retention import BOUNDED, KEPT_FOR_YEARS

DOCS = PROJECT / "docs"
PAGES = (PROJECT / "README.md", *sorted(DOCS.rglob("*.md")))

_BLOCK = re.compile(r"(?<=<!-- generated: )(\S+)(?: (\S+))?( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_SNAPSHOTS = PROJECT / "tests" / "dags" / "snapshots"
_AIRFLOW_SETTINGS = PROJECT / "airflow_settings.yaml"

FORMS: Mapping[str, OperationForm] = {
    "operate_invoices": INVOICES,
    "operate_notifications": NOTIFICATIONS,
    "restore_backup": RESTORE,
    "undo_settings_sync": UNDO,
}

_WORKS_ON = {
    WorksOn.YESTERDAY: "the day before the run's date",
    WorksOn.PREVIOUS_MONTH: "the month before the run's date",
    WorksOn.RUN_DATE: "the run's date",
}


def renewed(page: Path, connection: psycopg.Connection) -> str:
    """The text of the page with its blocks generated again. The database has the schema."""

    def block(match: re.Match[str]) -> str:
        name, argument, ending = match.groups()
        content = _BLOCKS[name](*([argument] if argument else []), **_context(name, page, connection))
        return f"{name}{f' {argument}' if argument else ''}{ending}\n{content}\n\n"

    return _BLOCK.sub(block, page.read_text(encoding="utf-8"))


def page_of(spec: BatchSpec) -> Path:
    """The page of a batch."""
    return DOCS / "batches" / f"{spec.id.lower()}.md"


def _context(name: str, page: Path, connection: psycopg.Connection) -> dict[str, Any]:
    contexts: dict[str, dict[str, Any]] = {
        "batches": {"page": page},
        "dags": {"page": page},
        "tables": {"connection": connection},
    }
    return contexts.get(name, {})


def _batches(*, page: Path) -> str:
    return _table(
        ("ID", "Name", "Schedule (Asia/Tokyo)"),
        [(f"[{spec.id}]({_relative(page_of(spec), page)})", spec.name, f"`{spec.cron}`") for spec in BATCHES],
    )


def _dags(*, page: Path) -> str:
    return _table(
        ("ID", "Name", "DAG", "Schedule (Asia/Tokyo)"),
        [
            (
                f"[{spec.id}]({_relative(page_of(spec), page)})",
                spec.name,
                f"`{spec.dag_id}`",
                f"`{spec.cron}`",
            )
            for spec in BATCHES
        ],
    )


def _batch(batch_id: str) -> str:
    spec = next(spec for spec in BATCHES if spec.id == batch_id)
    operations = [operation for operation in OPERATIONS if operation.batch is spec]
    rows = [
        ("DAG", f"`{spec.dag_id}`; by hand with its family: `{spec.family.dag_id}`"),
        ("Schedule (Asia/Tokyo)", f"`{spec.cron}`"),
        ("Business date", _WORKS_ON[spec.works_on]),
        ("Mapped task", f"`{spec.mapped_task}`, one instance per {'tenant' if spec.per_tenant else 'unit'}"),
        ("Time limit of a run", _duration(spec.time_limit)),
        ("Retries of a task", str(spec.retries)),
        ("Severity of a failed run", spec.run_severity.name),
        (
            "Form",
            ", ".join(f"「{field['title']}」 `{name}`" for name, field in _params(spec.dag_id).items()),
        ),
    ]
    if operations:
        rows.append(("Operations", ", ".join(f"`{operation.dag_id}`" for operation in operations)))
    return _table(("Name", spec.name), rows)


def _operations() -> str:
    return _table(
        ("DAG", "名前", "対象", "操作"),
        [
            (f"`{spec.dag_id}`", spec.name, spec.batch.id, "<br>".join(_operations_of(spec)))
            for spec in OPERATIONS
        ],
    )


def _operations_of(spec: OperationSpec) -> list[str]:
    form = FORMS.get(spec.dag_id)
    return [operation.label for operation in form.operations] if form else ["「要対応項目」で回答する"]


def _operation(dag_id: str) -> str:
    form = FORMS[dag_id]

    def fields(names: Sequence[str]) -> str:
        return "、".join(f"「{form.titles[name]}」 `{name}`" for name in names) or "–"

    return _table(
        ("操作", "値", "必須の欄", "任意の欄"),
        [
            (operation.label, f"`{operation.name}`", fields(operation.needs), fields(operation.takes))
            for operation in form.operations
        ],
    )


def _settings(section: str | None = None) -> str:
    """The section of the defaults with the comments above it, or all sections."""
    pattern = re.compile(rf"(?:^#.*\n)*^{section or '[a-z_]+'}:\n(?:(?:[ ].*)?\n)*", flags=re.MULTILINE)
    sections = [
        found.strip()
        for file in default_files()
        for found in pattern.findall(file.read_text(encoding="utf-8"))
    ]
    return "```yaml\n{}\n```".format("\n\n".join(sections))


def _connections() -> str:
    found = re.findall(
        r"- conn_id: (\S+) +# (.+)\n +conn_type: (\S+)", _AIRFLOW_SETTINGS.read_text(encoding="utf-8")
    )
    return _table(
        ("Connection", "Type", "What it is"),
        [(f"`{name}`", f"`{kind}`", meaning) for name, meaning, kind in found],
    )


def _variables() -> str:
    return _table(
        ("Variable", "What it is"),
        [
            (f"`{name}`", meaning)
            for name, meaning in re.findall(
                r"- variable_name: (\S+)\s+# (.+)\n", _AIRFLOW_SETTINGS.read_text(encoding="utf-8")
            )
        ],
    )


def _tables(*, connection: psycopg.Connection) -> str:
    rows = connection.execute(
        """
        SELECT relname, obj_description(oid, 'pg_class')
        FROM pg_class
        WHERE relnamespace = 'batch'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
        ORDER BY relname
        """
    ).fetchall()
    return _table(
        ("Table", "What it holds", "Kept"),
        [(f"`batch.{name}`", _in_cell(comment or ""), _kept(name)) for name, comment in rows],
    )


def _kept(table: str) -> str:
    if table in KEPT_FOR_YEARS:
        return "always"
    row_days = LogCleanupSettings.load().row_days
    days = {
        setting: getattr(row_days, setting)
        for setting, row_class in ROW_CLASSES.items()
        if table in {old.table for old in row_class.tables}
    }
    if not days:
        return BOUNDED[table]
    longest = max(days, key=lambda setting: days[setting])
    return f"{days[longest]} days (`log_cleanup.row_days.{longest}`)"


def _alerts() -> str:
    return _table(
        ("通知", "いつ", "重要度", "すること"),
        [(kind.name, kind.when, kind.severity, kind.what_to_do) for kind in ALERT_KINDS],
    )


def _waits() -> str:
    return _table(("バッチ", "待てるか"), [(f"{spec.id} {spec.name}", spec.can_wait) for spec in BATCHES])


def _failures(batch_id: str | None = None) -> str:
    """All kinds of failure, or those that only this batch and few others have."""
    kinds = [kind for kind in failure_kinds() if batch_id is None or batch_id in kind.of]
    return _table(
        ("種類", "対象", "朝まで待てるか", "対処", "知らせる相手"),
        [
            (
                kind.meaning,
                "、".join(kind.of) or "すべて",
                kind.waits or "バッチによる",
                kind.remedy(),
                kind.told,
            )
            for kind in kinds
        ],
    )


def _example(name: str) -> str:
    return f"```python\n{(DOCS / 'examples' / name).read_text(encoding='utf-8')}```"


def _metrics() -> str:
    return _table(
        ("Name", "Kind", "Unit", "What"),
        [(f"`{PREFIX}.{metric.name}`", metric.kind, metric.unit, metric.meaning) for metric in METRICS],
    )


def _params(dag_id: str) -> dict[str, Any]:
    structure = json.loads((_SNAPSHOTS / f"{dag_id}.json").read_text(encoding="utf-8"))
    return dict(structure["params"])


def _duration(limit: timedelta) -> str:
    minutes = int(limit.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _relative(target: Path, page: Path) -> str:
    return target.relative_to(page.parent).as_posix()


def _in_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_BLOCKS: Mapping[str, Callable[..., str]] = {
    "alerts": _alerts,
    "batch": _batch,
    "batches": _batches,
    "connections": _connections,
    "dags": _dags,
    "example": _example,
    "failures": _failures,
    "metrics": _metrics,
    "operation": _operation,
    "operations": _operations,
    "settings": _settings,
    "tables": _tables,
    "variables": _variables,
    "waits": _waits,
}
