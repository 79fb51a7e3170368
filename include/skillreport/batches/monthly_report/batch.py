"""BATCH-004: last month's report of each tenant, as a workbook and a PDF with the same figures, and e-mails to its administrators."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from include.skillreport.batches.monthly_report.document import render_pdf
from include.skillreport.batches.monthly_report.letter import (
    IN_DOUBT,
    occasion,
    report_letters,
    summary_lines,
)
from include.skillreport.batches.monthly_report.report import (
    MonthlyReport,
    first_needed_day,
    last_day_of,
    make_report,
    previous_month,
)
from include.skillreport.batches.monthly_report.settings import MonthlyReportSettings
from include.skillreport.batches.monthly_report.wording import title
from include.skillreport.batches.monthly_report.workbook import Person, write_workbook
from include.skillreport.core.database import Statements, tenant_transaction, tenant_turn
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.execution.batch import Run, StagingBatch, UnitResult, Work
from include.skillreport.core.execution.business_date import utc_bounds
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.temporary_files import temporary_folder
from include.skillreport.core.written_dates import month_in_words
from include.skillreport.messaging import outbox
from include.skillreport.messaging.contract_letters import MONTHLY_REPORT
from include.skillreport.messaging.notices import load_administrators
from include.skillreport.messaging.template_store import load_templates

_SQL = Statements(Path(__file__).parent)

EXTENSIONS = {"excel": "xlsx", "pdf": "pdf"}

# The namespace of the ids of the application's rows. A tenant, month and format always have the same row.
_HOST_ROWS = UUID("7d1c3a52-8f0e-4d5b-9a64-0b1f6f8f2c11")

_PEOPLE_AT_A_TIME = 500

# The first part of the lock's key, different from other locks; the tenant is the second part.
_TENANT_LOCK = 4

# The number of missing days that a note lists. The others are counted.
_NAMED_DAYS = 10

_NO_RECIPIENTS = (
    "宛先がないため、レポートを誰にも知らせません。MST_Tenant の admin_email か contact_email、または MST_TenantSettings の "
    "batch.monthly_report.recipients に宛先を登録し、このテナントだけ実行し直してください"
)


class DocumentFailedError(BatchError):
    """The PDF could not be created; the workbook was delivered."""


class PeopleDeletedError(BatchError):
    """Another attempt of the run delivered the report and deleted the people that this attempt should list."""

    recoverable = True


class MonthlyReportBatch(StagingBatch):
    """The steps of BATCH-004; see ``include.skillreport.core.execution.batch``."""

    states = frozenset({"reports", "missingDays"})

    staging_table = "report_signal"

    def __init__(self, settings: MonthlyReportSettings) -> None:
        self._settings = settings

    def prepare(self, work: Work) -> None:
        """Read settings and people once, into ``batch.report_signal`` and ``batch.report_person``."""
        last_day = last_day_of(work.run.business_date)
        parameters = {
            "execution_id": work.run.execution_id,
            "first_day": last_day.replace(day=1),
            "last_day": last_day,
            "month_end": utc_bounds(last_day).end,
            "tenant_ids": list(work.tenant_ids),
        }
        keep_people(work.connection)
        _SQL.execute(work.connection, "collect_people", **parameters)
        _SQL.execute(work.connection, "collect_settings", **parameters)

    def process(self, work: Work) -> list[UnitResult]:
        """Calculate the figures from the daily statistics and save them. The files are made from the saved figures."""
        month = work.run.business_date.replace(day=1)
        results = []
        administrators = load_administrators(work.connection)
        tenants = _SQL.rows(work.connection, "load_tenants", execution_id=work.run.execution_id)
        for row in tenants:
            tenant_id = row["tenant_id"]
            settings, notes = self._settings_of(row)
            if not settings.recipients and tenant_id not in administrators:
                notes = (*notes, _NO_RECIPIENTS)
            # One tenant at a time, by primary key, because a large shard's days do not fit into memory.
            days, groups = _statistics(work.connection, tenant_id, month, settings.fiscal_start_month)
            report = make_report(
                days,
                groups,
                tenant_code=row["tenant_code"],
                tenant_name=(settings.language == "en" and row["tenant_name_en"]) or row["tenant_name"],
                month=month,
                language=settings.language,
                colour=settings.colour,
                fiscal_start_month=settings.fiscal_start_month,
            )
            _SQL.execute(
                work.connection,
                "save_report",
                tenant_id=tenant_id,
                month=month,
                contents=Jsonb(report.model_dump(mode="json")),
                missing_days=len(report.missing_days),
                recipients=list(settings.recipients),
                execution_id=work.run.execution_id,
            )
            results.append(_result(tenant_id, report, notes))
        return results

    def write_files(self, work: Work, tenant_id: str) -> None:
        """Write the workbook and the PDF, show them in the application, and queue the e-mails to the administrators.

        Concurrent runs take turns, so that a file's record matches the stored file.
        :raises DocumentFailedError: there is no PDF; everything else is done.
        :raises PeopleDeletedError: another attempt of the run has delivered first.
        """
        with tenant_turn(work.connection, _TENANT_LOCK, tenant_id):
            self._deliver(work, tenant_id)

    def _deliver(self, work: Work, tenant_id: str) -> None:
        report, recipients = _stored_report(work.connection, work.run, tenant_id)
        # A killed worker's unfinished files may be too young for its retry. The next month's run deletes them.
        for month in (previous_month(report.month), report.month):
            work.files.delete_unfinished(_folder(tenant_id, month))
        workbook = _workbook(work.connection, work.run, tenant_id, report)
        written = [_write(work.files, tenant_id, report, "excel", workbook)]
        failure: Exception | None = None
        try:
            content = render_pdf(report)
        except Exception as error:
            # The tenant gets the workbook even if the PDF fails for any reason.
            failure = error
        else:
            written.append(_write(work.files, tenant_id, report, "pdf", content))
        self._publish(work, tenant_id, report, written, recipients)
        if failure:
            raise DocumentFailedError(
                f"PDF を作れませんでした（{reason_of(failure)}）。Excel は保存し、知らせました"
            ) from failure

    def _publish(
        self,
        work: Work,
        tenant_id: str,
        report: MonthlyReport,
        written: Sequence[dict[str, Any]],
        recipients: Sequence[str],
    ) -> None:
        """Record the files, show them in the application, queue the e-mails and delete the staging rows, in one transaction.

        If there is no PDF, the PDF of an earlier run is withdrawn, because its figures may differ from the new workbook.
        """
        month_name = month_in_words(report.month, report.language)
        connection, execution_id = work.connection, work.run.execution_id
        with tenant_transaction(connection, [tenant_id]):
            for file in written:
                row = {
                    **file,
                    "id": _host_row(tenant_id, report, file["format"]),
                    "tenant_id": tenant_id,
                    "month": report.month,
                    "execution_id": execution_id,
                    "title": f"{title(report)} {month_name}",
                    "parameters": f'{{"month": "{report.month:%Y-%m}"}}',
                }
                _SQL.execute(connection, "record_file", **row)
                _SQL.execute(connection, "show_file", **row)
            for format_name in EXTENSIONS.keys() - {file["format"] for file in written}:
                _SQL.execute(connection, "withdraw_file", id=_host_row(tenant_id, report, format_name))
            administrators = load_administrators(connection)
            addresses = recipients or [address for address in [administrators.get(tenant_id)] if address]
            templates = load_templates(connection, [MONTHLY_REPORT], {tenant_id: report.language})
            # A waiting e-mail would contain the old figures, or go to an address that is no longer a recipient.
            _SQL.execute(
                connection,
                "withdraw_letters",
                tenant_id=tenant_id,
                occasion=occasion(report),
                in_doubt=IN_DOUBT,
            )
            outbox.enqueue(
                connection,
                report_letters(
                    tenant_id,
                    report,
                    addresses,
                    templates[tenant_id][MONTHLY_REPORT],
                    formats=[file["format"] for file in written],
                    run_date=work.run.run_date,
                ),
                created_by=execution_id,
            )
            self.discard(work)

    def discard(self, work: Work) -> None:
        """Also delete the staged people."""
        _SQL.execute(work.connection, "delete_people", execution_id=work.run.execution_id)
        super().discard(work)

    def _settings_of(self, row: dict[str, Any]) -> tuple[MonthlyReportSettings, tuple[str, ...]]:
        """The tenant's settings: its overrides, then its language, then the defaults. An invalid override gives a note."""
        defaults = self._settings
        if row["language"] in ("ja", "en"):
            defaults = defaults.model_copy(update={"language": row["language"]})
        return defaults.overridden_if_valid(row["setting_overrides"])


def object_key(tenant_id: str, report: MonthlyReport, format_name: str) -> str:
    """``reports/T1-4f…/2026-10/月次レポート_HD001_2026-10.xlsx``: the folder name comes from the id. Unsafe characters of the code are
    replaced.
    """
    code = re.sub(r"[^\w-]", "_", report.tenant_code)[:40]
    name = f"月次レポート_{code}_{report.month:%Y-%m}.{EXTENSIONS[format_name]}"
    return f"{_folder(tenant_id, report.month)}/{name}"


def _folder(tenant_id: str, month: date) -> str:
    return f"reports/{tenant_folder(tenant_id)}/{month:%Y-%m}"


def _host_row(tenant_id: str, report: MonthlyReport, format_name: str) -> str:
    return str(uuid5(_HOST_ROWS, f"{tenant_id}/{report.month}/{format_name}"))


def _write(
    store: ObjectStore, tenant_id: str, report: MonthlyReport, format_name: str, content: bytes
) -> dict[str, Any]:
    """Store a file. Returns the values to record."""
    return {
        "format": format_name,
        "location": store.write(object_key(tenant_id, report, format_name), content),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _workbook(connection: psycopg.Connection, run: Run, tenant_id: str, report: MonthlyReport) -> bytes:
    """The workbook, with the staged people, read in chunks."""
    content = BytesIO()
    with (
        temporary_folder() as folder,
        tenant_transaction(connection, [tenant_id]),
        connection.cursor("people", row_factory=class_row(Person)) as cursor,
    ):
        cursor.itersize = _PEOPLE_AT_A_TIME
        _SQL.execute(cursor, "load_people", execution_id=run.execution_id)
        write_workbook(report, cursor, content, folder)
    return content.getvalue()


def _stored_report(
    connection: psycopg.Connection, run: Run, tenant_id: str
) -> tuple[MonthlyReport, Sequence[str]]:
    """The report as last saved by any run, and the tenant's own recipients."""
    with tenant_transaction(connection, [tenant_id]):
        contents, recipients, has_people = _SQL.row(
            connection, "load_report", month=run.business_date.replace(day=1), execution_id=run.execution_id
        )
    if not has_people:
        raise PeopleDeletedError(
            "同じ実行の別の試行が、先にレポートを保存しました。この試行は何も書いていません"
        )
    return MonthlyReport.model_validate(contents), recipients


def _statistics(
    connection: psycopg.Connection, tenant_id: str, month: date, fiscal_start_month: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The report's days of the tenant, and the groups of the month's last day."""
    span = {
        "tenant_id": tenant_id,
        "first_day": first_needed_day(month, fiscal_start_month),
        "month": month,
        "last_day": last_day_of(month),
    }
    return _SQL.rows(connection, "load_days", **span), _SQL.rows(connection, "load_groups", **span)


def _result(tenant_id: str, report: MonthlyReport, notes: tuple[str, ...]) -> UnitResult:
    missing = report.missing_days
    if missing:
        listed = "、".join(day.isoformat() for day in missing[:_NAMED_DAYS])
        more = f"、ほか {len(missing) - _NAMED_DAYS} 日" if len(missing) > _NAMED_DAYS else ""
        notes = (*notes, f"統計のない日が {len(missing)} 日あります（{listed}{more}）。表紙に記載しました")
    details = {
        "reports": 1,
        "missingDays": len(missing),
        **{
            name: str(value) if isinstance(value := report.figure(key).current, Decimal) else None
            for name, key in (("users", "users_total"), ("logins", "logins"), ("apiCalls", "api_calls"))
        },
    }
    report_lines = tuple(f"{tenant_id}: {line}" for line in summary_lines(report))
    return UnitResult(
        tenant_id, details, records=len(report.days) - len(missing), notes=notes, report=report_lines
    )
