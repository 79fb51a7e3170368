"""BATCH-004: last month's report of each tenant, as a workbook and a PDF of the same figures, told to its administrators."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from include.data_management.monthly_report.document import render_pdf
from include.data_management.monthly_report.letter import occasion, report_letters, summary_lines
from include.data_management.monthly_report.report import (
    MonthlyReport,
    first_needed_day,
    last_day_of,
    make_report,
)
from include.data_management.monthly_report.wording import month_text, title
from include.data_management.monthly_report.workbook import Person, write_workbook
from include.database import read_sql, tenant_transaction, tenant_turn
from include.errors import BatchError, reason_of
from include.execution.business_date import utc_bounds
from include.execution.object_store import ObjectStore, tenant_folder
from include.execution.tenant_work import Run, TenantBatch, TenantResult
from include.messaging import outbox
from include.messaging.notices import MONTHLY_REPORT, load_administrators
from include.messaging.template_store import load_templates
from include.settings import MonthlyReportSettings, Settings

_HERE = Path(__file__).parent

EXTENSIONS = {"excel": "xlsx", "pdf": "pdf"}

# Ids of the application's rows come from what they are about: the same report of the same month is the same row.
_HOST_ROWS = UUID("7d1c3a52-8f0e-4d5b-9a64-0b1f6f8f2c11")

_PEOPLE_AT_A_TIME = 500

# Any number that no other lock of ours has; the tenant comes beside it.
_TENANT_LOCK = 4

# Missing days that a remark names; more of them are counted.
_NAMED_DAYS = 10

_NOBODY_TOLD = (
    "宛先がないため、レポートを誰にも知らせません。MST_Tenant の admin_email か contact_email、または MST_TenantSettings の "
    "batch.monthly_report.recipients に宛先を登録し、このテナントだけ実行し直してください"
)


class DocumentFailedError(BatchError):
    """The PDF could not be made; the workbook was delivered all the same."""


class PeopleUsedUpError(BatchError):
    """Another try of the run has delivered meanwhile, and used up the people that this one was to list."""

    recoverable = True


class MonthlyReportBatch(TenantBatch):
    """The steps of BATCH-004; see ``TenantBatch`` for what each must hold to."""

    writes_files = True
    staging_table = "report_signal"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def prepare(self, platform: psycopg.Connection, run: Run, tenant_ids: Sequence[str]) -> None:
        """Read the tenants' settings and people once, into ``batch.report_signal`` and ``batch.report_person``."""
        last_day = last_day_of(run.business_date)
        parameters = {
            "execution_id": run.execution_id,
            "first_day": last_day.replace(day=1),
            "last_day": last_day,
            "month_end": utc_bounds(last_day).end,
            "tenant_ids": list(tenant_ids),
        }
        platform.execute(read_sql(_HERE, "collect_people"), parameters)
        platform.execute(read_sql(_HERE, "collect_settings"), parameters)

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],  # noqa: ARG002 - the transaction's context says it
    ) -> list[TenantResult]:
        """Work the reports' figures out of the daily statistics and keep them; the files are made of what was kept."""
        month = run.business_date.replace(day=1)
        results = []
        administrators = load_administrators(connection)
        with connection.cursor(row_factory=dict_row) as cursor:
            tenants = cursor.execute(
                read_sql(_HERE, "load_tenants"), {"execution_id": run.execution_id}
            ).fetchall()
        for row in tenants:
            tenant_id = row["tenant_id"]
            own, notes = self._settings_of(row)
            if not own.recipients and tenant_id not in administrators:
                notes = (*notes, _NOBODY_TOLD)
            # One after the other, by the tables' keys: a large shard's days would not fit into memory together.
            days, groups = _statistics(connection, tenant_id, month, own.fiscal_start_month)
            report = make_report(
                days,
                groups,
                tenant_code=row["tenant_code"],
                tenant_name=row["tenant_name"],
                month=month,
                language=own.language,
                colour=own.colour,
                fiscal_start_month=own.fiscal_start_month,
            )
            connection.execute(
                read_sql(_HERE, "keep_report"),
                {
                    "tenant_id": tenant_id,
                    "month": month,
                    "contents": Jsonb(report.model_dump(mode="json")),
                    "missing_days": len(report.missing_days),
                    "recipients": list(own.recipients),
                    "execution_id": run.execution_id,
                },
            )
            results.append(_result(tenant_id, report, notes))
        return results

    def deliver(self, connection: psycopg.Connection, run: Run, tenant_id: str, store: ObjectStore) -> None:
        """Write the workbook and the PDF, show them in the application, and queue the letter to the administrators.

        Two runs take turns, so that what is recorded of a file is what lies there.
        :raises DocumentFailedError: there is no PDF; everything else is done.
        :raises PeopleUsedUpError: another try of the run was faster.
        """
        with tenant_turn(connection, _TENANT_LOCK, tenant_id):
            self._deliver(connection, run, tenant_id, store)

    def _deliver(self, connection: psycopg.Connection, run: Run, tenant_id: str, store: ObjectStore) -> None:
        report, recipients = _stored_report(connection, run, tenant_id)
        written = [_write(store, tenant_id, report, "excel", _workbook(connection, run, tenant_id, report))]
        failure: Exception | None = None
        try:
            content = render_pdf(report)
        except Exception as error:
            # Whatever keeps a page from being set must not keep the figures from the tenant.
            failure = error
        else:
            written.append(_write(store, tenant_id, report, "pdf", content))
        self._tell(connection, run, tenant_id, report, written, recipients)
        if failure:
            raise DocumentFailedError(
                f"PDF を作れませんでした（{reason_of(failure)}）。Excel は保存し、知らせました。"
                "原因を除いてから、この process を消去してください"
            ) from failure

    def _tell(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_id: str,
        report: MonthlyReport,
        written: Sequence[dict[str, Any]],
        recipients: Sequence[str],
    ) -> None:
        """In one transaction: the files' records, the application's rows and the letters; what was staged is used up.

        A PDF of an earlier run is withdrawn when this one has none: beside the new workbook it would show other figures.
        """
        month_name = month_text(report.month, report.language)
        with tenant_transaction(connection, [tenant_id]), connection.cursor() as cursor:
            for file in written:
                row = {
                    **file,
                    "id": _host_row(tenant_id, report, file["format"]),
                    "tenant_id": tenant_id,
                    "month": report.month,
                    "execution_id": run.execution_id,
                    "title": f"{title(report)} {month_name}",
                    "parameters": f'{{"month": "{report.month:%Y-%m}"}}',
                }
                cursor.execute(read_sql(_HERE, "record_file"), row)
                cursor.execute(read_sql(_HERE, "show_file"), row)
            for format_name in EXTENSIONS.keys() - {file["format"] for file in written}:
                cursor.execute(
                    read_sql(_HERE, "withdraw_file"), {"id": _host_row(tenant_id, report, format_name)}
                )
            administrators = load_administrators(connection)
            addresses = recipients or [address for address in [administrators.get(tenant_id)] if address]
            templates = load_templates(connection, [MONTHLY_REPORT], {tenant_id: report.language})
            # A letter that still waits would tell the former figures, or tell somebody who is no recipient any more.
            cursor.execute(
                read_sql(_HERE, "withdraw_letters"), {"tenant_id": tenant_id, "occasion": occasion(report)}
            )
            outbox.enqueue(
                connection,
                report_letters(
                    tenant_id,
                    report,
                    addresses,
                    templates[tenant_id][MONTHLY_REPORT],
                    formats=[file["format"] for file in written],
                    run_date=run.run_date,
                ),
                created_by=run.execution_id,
            )
            for staged in ("use_up_people", "use_up_signals"):
                cursor.execute(read_sql(_HERE, staged), {"execution_id": run.execution_id})

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Delete what no tenant's step has used up, the people too."""
        platform.execute(read_sql(_HERE, "use_up_people"), {"execution_id": run.execution_id})
        super().discard(platform, run)

    def _settings_of(self, row: dict[str, Any]) -> tuple[MonthlyReportSettings, tuple[str, ...]]:
        """What holds for a tenant: its overrides over its language over the defaults; one that does not hold is remarked on."""
        defaults = self._settings.monthly_report
        if row["language"] in ("ja", "en"):
            defaults = defaults.model_copy(update={"language": row["language"]})
        return defaults.overridden_if_valid(row["setting_overrides"])


def object_key(tenant_id: str, report: MonthlyReport, format_name: str) -> str:
    """``reports/T1-4f…/2026-10/月次レポート_HD001_2026-10.xlsx``: the folder is made of the id, and the code in the name is made safe."""
    code = re.sub(r"[^\w-]", "_", report.tenant_code)[:40]
    name = f"月次レポート_{code}_{report.month:%Y-%m}.{EXTENSIONS[format_name]}"
    return f"reports/{tenant_folder(tenant_id)}/{report.month:%Y-%m}/{name}"


def _host_row(tenant_id: str, report: MonthlyReport, format_name: str) -> str:
    return str(uuid5(_HOST_ROWS, f"{tenant_id}/{report.month}/{format_name}"))


def _write(
    store: ObjectStore, tenant_id: str, report: MonthlyReport, format_name: str, content: bytes
) -> dict[str, Any]:
    """Put a file into the store; what is recorded of it."""
    return {
        "format": format_name,
        "location": store.write(object_key(tenant_id, report, format_name), content),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _workbook(connection: psycopg.Connection, run: Run, tenant_id: str, report: MonthlyReport) -> bytes:
    """The workbook, with the tenant's people as they were read for the run, some at a time."""
    content = BytesIO()
    with (
        tenant_transaction(connection, [tenant_id]),
        connection.cursor("people", row_factory=class_row(Person)) as cursor,
    ):
        cursor.itersize = _PEOPLE_AT_A_TIME
        cursor.execute(read_sql(_HERE, "load_people"), {"execution_id": run.execution_id})
        write_workbook(report, cursor, content)
    return content.getvalue()


def _stored_report(
    connection: psycopg.Connection, run: Run, tenant_id: str
) -> tuple[MonthlyReport, Sequence[str]]:
    """The report as it was kept last, by whichever run, and whom the tenant wants told."""
    with tenant_transaction(connection, [tenant_id]):
        row = connection.execute(
            read_sql(_HERE, "load_report"),
            {"month": run.business_date.replace(day=1), "execution_id": run.execution_id},
        ).fetchone()
    assert row is not None
    contents, recipients, has_people = row
    if not has_people:
        raise PeopleUsedUpError(
            "同じ実行の別の試行が、先にレポートを保存しました。この試行は何も書いていません。"
            "自動で再試行されない場合は、この process を消去してください"
        )
    return MonthlyReport.model_validate(contents), recipients


def _statistics(
    connection: psycopg.Connection, tenant_id: str, month: date, fiscal_start_month: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tenant's days that its report reads, and its groups of the month's last day."""
    span = {
        "tenant_id": tenant_id,
        "first_day": first_needed_day(month, fiscal_start_month),
        "month": month,
        "last_day": last_day_of(month),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        days = cursor.execute(read_sql(_HERE, "load_days"), span).fetchall()
        return days, cursor.execute(read_sql(_HERE, "load_groups"), span).fetchall()


def _result(tenant_id: str, report: MonthlyReport, notes: tuple[str, ...]) -> TenantResult:
    missing = report.missing_days
    if missing:
        listed = "、".join(day.isoformat() for day in missing[:_NAMED_DAYS])
        more = f"、ほか {len(missing) - _NAMED_DAYS} 日" if len(missing) > _NAMED_DAYS else ""
        notes = (*notes, f"統計のない日が {len(missing)} 日あります（{listed}{more}）。表紙に記載しました")
    details = {
        "reports": 1,
        "missingDays": len(missing),
        **{
            name: None if (value := report.figure(key).current) is None else str(value)
            for name, key in (("users", "users_total"), ("logins", "logins"), ("apiCalls", "api_calls"))
        },
    }
    report_lines = tuple(f"{tenant_id}: {line}" for line in summary_lines(report))
    return TenantResult(
        tenant_id, details, records=len(report.days) - len(missing), notes=notes, report=report_lines
    )
