"""The revisions of schema ``batch``: this code's revision, and what another revision needs. Does not import Alembic.

The baseline is frozen since version 1.0.0: a change is a new revision in ``versions/``, whose id is its file name, for example
``0002_reminders``. It has its SQL in ``sql/0002_reminders.sql``. It first expands (docs/develop/schema.md), so that older code goes on
working; a later version removes what nothing uses any more, and raises ``OLDEST_CODE``.
"""

from __future__ import annotations

import re
from pathlib import Path

from packaging.version import Version

from include.skillreport.core.version import VERSION
from include.skillreport.schema.checks.findings import Finding, error, remark

SCRIPTS = Path(__file__).parent

OLDEST_CODE = "1.0.0"
"""The oldest version whose code can use the schema of this version's newest revision."""

BASELINE_REVISION = "0001_baseline"

# The files of the baseline in ``sql/``, in the order of execution.
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

_NUMBERED = re.compile(r"(\d{4})_\w+")

UPGRADE_HINT = "`python -m include.skillreport upgrade` を実行してください"


def head_revision() -> str:
    """The newest revision of this code."""
    return _revisions()[-1]


def revisions_after(deployed: str | None) -> list[str]:
    """The revisions that a schema of the revision ``deployed`` lacks, oldest first."""
    return [revision for revision in _revisions() if _number(revision) > _number(deployed or "")]


def find_other_revision(deployed: str | None, oldest_code: str | None = None) -> Finding | None:
    """What a schema of the revision ``deployed`` needs; None if this code can use it. ``oldest_code`` is what its deployment has recorded.

    A remark: an upgrade helps (also without a recorded revision). An error: this code cannot use the schema.
    """
    revisions = _revisions()
    head = revisions[-1]
    if oldest_code and Version(VERSION) < Version(oldest_code):
        problem = f"スキーマ batch の版 {deployed} はバージョン {oldest_code} 以降のコードのもので、このコード（{VERSION}）では使えません。"
        return error("other-revision", problem, "新しいコードを使ってください。", "batch")
    if deployed == head or (oldest_code and _is_newer(deployed)):
        return None
    if deployed is None or deployed in revisions:
        problem = f"スキーマ batch の版は {deployed or 'なし'} ですが、このコードの版は {head} です。"
        return remark("outdated", problem, f"{UPGRADE_HINT}。", "batch")
    problem = (
        f"スキーマ batch は公開前の別のコードが作った版 {deployed} で、このコードの版 {head} には移せません。"
    )
    remedy = (
        "新しいデータベースを使うか、請求書を含む行を捨ててよければ、先に設定の billing.first_month をまだ請求していない最初の月に"
        "直し（docs/admin/billing.md）、`DROP SCHEMA batch CASCADE` のあとに `python -m include.skillreport upgrade` を実行してください。"
    )
    return error("other-revision", problem, remedy, "batch")


def find_undeployable_revision(deployed: str | None) -> Finding | None:
    """What a schema of the revision ``deployed`` needs before this code deploys to it; as ``find_other_revision``, but a newer schema is an
    error: only its code knows its views.
    """
    if not _is_newer(deployed):
        return find_other_revision(deployed)
    problem = f"スキーマ batch はより新しいコードが作った版 {deployed} で、このコードの版は {head_revision()} です。"
    remedy = "upgrade、detach、attach は新しいコードで実行してください。バッチの実行に upgrade が要るかどうかは check が示します。"
    return error("other-revision", problem, remedy, "batch")


def _is_newer(deployed: str | None) -> bool:
    return _number(deployed or "") > _number(head_revision())


def _revisions() -> list[str]:
    return sorted(path.stem for path in (SCRIPTS / "versions").glob("[0-9]*_*.py"))


def _number(revision: str) -> int:
    """Returns 0 if the text is not the id of such a revision."""
    numbered = _NUMBERED.fullmatch(revision)
    return int(numbered[1]) if numbered else 0
