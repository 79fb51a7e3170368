"""The revisions of schema ``batch``: this code's revision, and what another revision needs. Does not import Alembic.

The baseline's id contains a hash of its SQL, which identifies databases of another baseline. A later revision's id is its file name, for
example ``0002_reminders``.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from include.skillreport.schema.checks.findings import Finding, error, remark

SCRIPTS = Path(__file__).parent

_SQL = Path(__file__).with_name("sql")

# The order of execution.
BASELINE = (
    "isolation",
    "host",
    "runs",
    "people",
    "activity",
    "usage",
    "statistics",
    "monitoring",
    "plan_settings",
    "billing",
    "second_person",
    "invoices",
    "transfers",
    "receivables",
    "messages",
    "directory",
    "backups",
    "approvals",
    "contracts",
    "offboarding",
)

_HASH_DIGITS = 12
_NUMBERED = re.compile(r"(\d{4})_\w+")

UPGRADE_HINT = "`python -m include.skillreport upgrade` を実行してください"


def baseline_revision() -> str:
    """``0001_`` and the first digits of the SHA-256 of the baseline's SQL, read with LF line ends."""
    return _revision_of(_SQL)


@cache
def _revision_of(folder: Path) -> str:
    statements = "".join((folder / f"{subject}.sql").read_text(encoding="utf-8") for subject in BASELINE)
    return f"0001_{hashlib.sha256(statements.encode()).hexdigest()[:_HASH_DIGITS]}"


def head_revision() -> str:
    """The newest revision of this code."""
    return _revisions()[-1]


def find_other_revision(deployed: str | None) -> Finding | None:
    """What a schema of the revision ``deployed`` needs; None if it is this code's newest revision.

    A remark: an upgrade helps (also without a recorded revision). An error: this code cannot use the schema.
    """
    revisions = _revisions()
    head = revisions[-1]
    if deployed == head:
        return None
    if deployed is None or deployed in revisions:
        problem = f"スキーマ batch の版は {deployed or 'なし'} ですが、このコードの版は {head} です。"
        return remark("outdated", problem, f"{UPGRADE_HINT}。", "batch")
    if _number(deployed) > _number(head):
        problem = f"スキーマ batch はより新しいコードが作った版 {deployed} で、このコードの版 {head} では使えません。"
        return error("other-revision", problem, "新しいコードを使ってください。", "batch")
    problem = (
        f"スキーマ batch は公開前の別のコードが作った版 {deployed} で、このコードの版 {head} には移せません。"
    )
    remedy = (
        "新しいデータベースを使うか、請求書を含む行を捨ててよければ、先に設定の billing.first_month をまだ請求していない最初の月に"
        "直し（docs/admin/billing.md）、`DROP SCHEMA batch CASCADE` のあとに `python -m include.skillreport upgrade` を実行してください。"
    )
    return error("other-revision", problem, remedy, "batch")


def _revisions() -> list[str]:
    _, *later = sorted(path.stem for path in (SCRIPTS / "versions").glob("[0-9]*_*.py"))
    return [baseline_revision(), *later]


def _number(revision: str) -> int:
    """Returns 0 if the text is not the id of such a revision."""
    numbered = _NUMBERED.fullmatch(revision)
    return int(numbered[1]) if numbered else 0
