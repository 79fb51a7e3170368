"""The Airflow assets that the batches produce and read, for the DAGs of other teams.

Names begin with the product's name, because they are unique in an Airflow installation. Airflow requires a host and a port in a
``postgres`` URI, which only a connection knows. It accepts any URI whose scheme begins with ``x-`` (Airflow 3.3, page "Asset definitions",
read November 2026).
"""

from __future__ import annotations

from dataclasses import dataclass

_PRODUCT = "skill_report"
_SCHEME = "x-skill-report"


@dataclass(frozen=True, kw_only=True)
class AssetSpec:
    """An asset. ``about`` is one line for developers, ``page`` its page in ``docs/``. Tables of the application have neither."""

    name: str
    uri: str
    group: str
    about: str = ""
    page: str = ""


def _made(slug: str, about: str, page: str) -> AssetSpec:
    return AssetSpec(
        name=f"{_PRODUCT}_{slug}",
        uri=f"{_SCHEME}://batches/{slug}",
        group="skill-report-batches",
        about=about,
        page=page,
    )


def tables(*names: str) -> tuple[AssetSpec, ...]:
    """Tables of the application."""
    return tuple(
        AssetSpec(name=f"{_PRODUCT}_{name}", uri=f"{_SCHEME}://application/{name}", group="skill-report")
        for name in names
    )


BACKUP = _made("backup", "a checked backup of the database", "batches/batch-001.md")
STATISTICS_DAY = _made("statistics_day", "the statistics of a day", "batches/batch-003.md")
MONTHLY_REPORTS = _made("monthly_reports", "the reports of a month", "batches/batch-004.md")
USAGE_DAY = _made("usage_day", "a day of usage, closed for all tenants", "batches/batch-018-01.md")
INVOICES = _made("invoices", "the finalised invoices of a month", "batches/batch-018-02.md")
ACCOUNTING_FILES = _made(
    "accounting_files", "the accountant's files after the invoices of a month", "accounting/files.md"
)
TENANT_INACTIVITY = _made(
    "tenant_inactivity", "how long tenants have been unused, judged on a day", "batches/batch-018-04.md"
)

ACTIVITY_TABLES = tables(
    "HIS_AuditLog",
    "TRN_EmployeeSkillGrade",
    "TRN_GoalProgress",
    "TRN_PDU",
    "TRN_ProjectRecord",
    "TRN_SkillEvidence",
    "TRN_SkillRecord",
    "TRN_TrainingHistory",
)
