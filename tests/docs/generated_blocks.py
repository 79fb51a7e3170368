"""The parts of README and pages that are made from code: the registry, forms, settings, e-mails and comments of tables.

A page says ``<!-- generated: NAME ARGUMENT -->`` and ``<!-- end -->``; what is between them is made here. ``test_generated_blocks``
compares, and writes the pages with ``UPDATE_SNAPSHOTS=1``. In the repository the long blocks of docs/reference only say where to read them:
``make docs`` fills them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import yaml

from skill_batch.metrics import METRICS, PREFIX
from skill_batch.notifiers.alert_kinds import ALERT_KINDS
from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES
from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.billing.pricing.charge_models import CHARGE_MODELS
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.failure_kinds import failure_kinds
from include.skillreport.core.network import EmailConfig
from include.skillreport.core.operation_catalog import OPERATIONS
from include.skillreport.core.run_spec import BatchSpec, OperationSpec, WorksOn
from include.skillreport.core.settings import default_files
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.channels.email.letter import letter_of
from include.skillreport.messaging.contract_letters import BILLING_LETTERS
from include.skillreport.messaging.message import Message
from include.skillreport.operations.forms import FORMS
from include.skillreport.schema.checks.findings import ERRORS, REMARKS
from tests.airflow_installation import PROJECT
from tests.messaging.every_letter import arrived_text, every_letter
from tests.worlds.retained_tables import BOUNDED, KEPT_FOR_YEARS

DOCS = PROJECT / "docs"
PAGES = (PROJECT / "README.md", *sorted(DOCS.rglob("*.md")))

_BLOCK = re.compile(r"(?<=<!-- generated: )(\S+)((?: \S+)*)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
# A recipe shows a page: its blocks are written when a developer has made the page.
_PAGE_IN_A_PAGE = re.compile(r"(^````.*?^````$)", re.MULTILINE | re.DOTALL)
_SNAPSHOTS = PROJECT / "tests" / "dags" / "snapshots"
_AIRFLOW_SETTINGS = PROJECT / "airflow_settings.yaml"
_SCHEMA = PROJECT / "include" / "skillreport" / "schema"

# Every batch has these fields: docs/operate/runs.md.
_FIELDS_OF_ALL = {"business_date", "tenants", "dry_run"}

_WORKS_ON = {
    WorksOn.YESTERDAY: "the day before the run's date",
    WorksOn.PREVIOUS_MONTH: "the month before the run's date",
    WorksOn.RUN_DATE: "the run's date",
}


def renewed(page: Path) -> str:
    """The text of the page as it is in the repository, with its blocks generated again."""
    return generated(page.read_text(encoding="utf-8"), page, elsewhere=SITE_ONLY)


def generated(text: str, page: Path, *, elsewhere: frozenset[str] = frozenset()) -> str:
    """The text of a page with its blocks. A block whose name is in ``elsewhere`` says only where to read it."""

    def block(match: re.Match[str]) -> str:
        name, arguments, ending = match.groups()
        make = _BLOCKS[name]
        known = {"page": page} if name in _LINKING else {}
        content = _ELSEWHERE if name in elsewhere else make(*arguments.split(), **known)
        return f"{name}{arguments}{ending}\n{content}\n\n"

    parts = _PAGE_IN_A_PAGE.split(text)
    return "".join(part if index % 2 else _BLOCK.sub(block, part) for index, part in enumerate(parts))


def page_of(spec: BatchSpec) -> Path:
    """The page of a batch."""
    return DOCS / "batches" / f"{spec.id.lower()}.md"


def _batches(*, page: Path) -> str:
    return _table(
        ("Batch", "DAG", "Schedule (Asia/Tokyo)"),
        [
            (
                f"[{spec.id} {spec.name}]({_relative(page_of(spec), page)})",
                f"`{spec.dag_id}`",
                f"`{spec.cron}`",
            )
            for spec in BATCHES
        ],
    )


def _decisions(*, page: Path) -> str:
    records = sorted((DOCS / "decisions").glob("*.md"))
    titles = [record.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for record in records]
    return "\n".join(
        f"- [{title}]({_relative(record, page)})" for title, record in zip(titles, records, strict=True)
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
    ]
    own = {name: field for name, field in _params(spec.dag_id).items() if name not in _FIELDS_OF_ALL}
    if own:
        rows.append(
            (
                "Own field of its form",
                ", ".join(f"「{field['title']}」 `{name}`" for name, field in own.items()),
            )
        )
    if operations:
        rows.append(("Operations", ", ".join(f"`{operation.dag_id}`" for operation in operations)))
    return _table(("Name", spec.name), rows)


def _assets(*, page: Path) -> str:
    return _table(
        ("asset", "is", "key", "made by"),
        [
            (
                f"`{made.name}`",
                f"[{made.about}]({_relative(DOCS / made.page, page)})",
                f"`{spec.partition_key(date(2026, 10, 1))}`",
                f"{spec.id} {spec.name}",
            )
            for spec in BATCHES
            for made in spec.makes
        ],
    )


def _charge_models() -> str:
    return _table(
        ("model", "amount"),
        [(f"`{get_args(each.model_fields['model'].annotation)[0]}`", each.rule) for each in CHARGE_MODELS],
    )


def _operations() -> str:
    """Every DAG that a user starts, and the form of each."""
    overview = _table(
        ("DAG", "名前", "関連するバッチ", "操作"),
        [
            (f"`{spec.dag_id}`", spec.name, spec.batch.id, "<br>".join(_operations_of(spec)))
            for spec in OPERATIONS
        ],
    )
    forms = [
        f'<a id="{spec.dag_id}"></a>\n## {spec.name}: `{spec.dag_id}`\n\n{FORMS[spec.dag_id].table()}'
        for spec in OPERATIONS
        if spec.dag_id in FORMS
    ]
    return "\n\n".join([overview, *forms])


def _operations_of(spec: OperationSpec) -> list[str]:
    form = FORMS.get(spec.dag_id)
    return [operation.label for operation in form.operations] if form else ["「要対応項目」で回答する"]


def _operation_call(dag_id: str, name: str) -> str:
    """The request that starts an operation with the examples of all its fields."""
    (operation,) = (each for each in FORMS[dag_id].operations if each.name == name)
    examples = {field: each.example for field, each in operation.fields().items()}
    conf = FORMS[dag_id].entered({"operation": name} | examples).values() | {"business_date": "2026-10-01"}
    body = json.dumps({"logical_date": None, "conf": conf}, ensure_ascii=False, indent=2)
    return f"```bash\nairflow_api -X POST \"$AIRFLOW_URL/api/v2/dags/{dag_id}/dagRuns\" -d '{body}' |\n  jq .state\n```"


def _settings() -> str:
    """Each section with the beginning of its comment, the names in it, and its file."""
    rows = []
    for file in default_files():
        text = file.read_text(encoding="utf-8")
        for comment, section in re.findall(r"((?:^#.*\n)+)^([a-z_]+):$", text, flags=re.MULTILINE):
            about = " ".join(comment.replace("#", " ").split()).partition(". ")[0]
            names = ", ".join(f"`{name}`" for name in yaml.safe_load(text)[section])
            rows.append(
                (f"`{section}`", about.rstrip("."), names, f"`{file.relative_to(PROJECT).as_posix()}`")
            )
    return _table(("Section", "For", "Settings", "File"), rows)


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


def _tables() -> str:
    """The tables of the baseline, by their comments."""
    baseline = "".join(file.read_text(encoding="utf-8") for file in (_SCHEMA / "sql").glob("*.sql"))
    comments = dict(
        re.findall(r"^COMMENT ON TABLE batch\.(\w+) IS\s+'((?:[^']|'')*)'", baseline, re.MULTILINE)
    )
    made, dropped = (
        set(re.findall(rf"^{verb} TABLE batch\.(\w+)", baseline, re.MULTILINE))
        for verb in ("CREATE(?: UNLOGGED)?", "DROP")
    )
    return _table(
        ("Table", "What it holds", "Kept"),
        [
            (f"`batch.{name}`", _first_sentence(comments[name].replace("''", "'")), _kept(name))
            for name in sorted(made - dropped)
        ],
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
    return "; ".join(
        f"{days[setting]} days (`log_cleanup.row_days.{setting}`)"
        for setting in sorted(days, key=days.__getitem__)
    )


def _alerts() -> str:
    return _table(
        ("アラート", "いつ", "重要度", "すること"),
        [(kind.name, kind.when, kind.severity, kind.what_to_do) for kind in ALERT_KINDS],
    )


def _waits() -> str:
    return _table(("バッチ", "待てるか"), [(f"{spec.id} {spec.name}", spec.can_wait) for spec in BATCHES])


def _missed_runs() -> str:
    return _table(
        ("バッチ", "止まった間の分", "過去分再実行", "過ぎた日の実行が送るもの"),
        [
            (f"{spec.id} {spec.name}", spec.missed_runs, "できる" if spec.backfills else "", spec.sent_late)
            for spec in BATCHES
        ],
    )


def _failures() -> str:
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
            for kind in failure_kinds()
        ],
    )


def _checks() -> str:
    """The codes of the findings of ``python -m include.skillreport check``."""
    severities = (("error", ERRORS), ("remark", REMARKS))
    return _table(
        ("code", "severity", "意味"),
        [
            (f"`{code}`", f"`{severity}`", meaning)
            for severity, meanings in severities
            for code, meaning in meanings.items()
        ],
    )


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
    return Path(os.path.relpath(target, page.parent)).as_posix()


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".").replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _answers() -> str:
    """The meaning of each answer of a service, by channel."""
    parts = []
    for channel in CHANNELS.values():
        rows = [
            (f"`{code.code}`", str(code.outcome), str(code.error_class), code.meaning)
            for code in channel.errors.values()
        ]
        table = _table(("code", "outcome", "class", "意味"), rows)
        parts.append(f'<a id="{channel}"></a>\n## {channel.label}\n\n{table}')
    return "\n\n".join(parts)


def _letters() -> str:
    """Subject and text of every letter, as it arrives."""
    config = EmailConfig("mail.example.jp", 587, "no-reply@cloud-service.example")
    parts = []
    for japanese, english in zip(every_letter("ja"), every_letter("en"), strict=True):
        parts += [f"## {japanese.name}", _about_letter(japanese.message)]
        for message in (japanese.message, english.message):
            subject, text = arrived_text(letter_of(message, config))
            lines = [f"Subject: {subject}", "", *map(str.rstrip, text.rstrip().splitlines())]
            parts.append("\n".join(["```text", *lines, "```"]))
    return "\n\n".join(parts)


def _about_letter(message: Message) -> str:
    signed = "請求書の発行者" if message.kind in BILLING_LETTERS else "サービス"
    belongs = "契約に関わる通知。" if message.belongs_to_contract else ""
    return f"種類 `{message.kind}`。{belongs}署名は{signed}。"


_BLOCKS: Mapping[str, Callable[..., str]] = {
    "answers": _answers,
    "alerts": _alerts,
    "assets": _assets,
    "batch": _batch,
    "batches": _batches,
    "charge_models": _charge_models,
    "checks": _checks,
    "connections": _connections,
    "decisions": _decisions,
    "failures": _failures,
    "letters": _letters,
    "metrics": _metrics,
    "operation_call": _operation_call,
    "operations": _operations,
    "settings": _settings,
    "tables": _tables,
    "variables": _variables,
    "missed-runs": _missed_runs,
    "waits": _waits,
}

# Blocks of links, which depend on the page.
_LINKING = {"assets", "batches", "decisions"}

# The blocks that only the built site has, and what stands in the repository instead.
SITE_ONLY = frozenset({"answers", "checks", "failures", "letters", "operations", "tables"})
_ELSEWHERE = (
    "表は、ボードの「ヘルプ」と、`make docs` が作るサイトにあります。 "
    "(The table is in the help of the board, and in the site that `make docs` builds.)"
)
