"""The e-mail to a tenant's administrators about a new monthly report, with its main figures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, timedelta

from include.skillreport.batches.monthly_report.report import MonthlyReport
from include.skillreport.batches.monthly_report.wording import (
    difference_text,
    notices,
    value_text,
    words,
)
from include.skillreport.core.written_dates import month_in_words
from include.skillreport.messaging.channels import EMAIL
from include.skillreport.messaging.contract_letters import MONTHLY_REPORT
from include.skillreport.messaging.notices import notice, sending_time
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.outcome import Outcome
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.templates import Template

# The e-mail about a month's report is sent once, even if the report is created again.
_DEDUPE = timedelta(days=400)

# The errors of an e-mail that may have arrived. ``outbox.park_crashed`` sets the last one.
IN_DOUBT = [
    *(code for code, row in EMAIL.errors.items() if row.outcome is Outcome.AMBIGUOUS),
    "sender_lost",
]

_SUMMARY = (
    "users_total",
    "users_active",
    "logins",
    "api_calls",
    "error_rate",
    "mean_level",
    "coverage_rate",
    "goal_rate",
    "certificates_expiring",
)

_FORMAT_NAMES = {"excel": "Excel", "pdf": "PDF"}


def summary_lines(report: MonthlyReport) -> list[str]:
    """The main figures, each with its difference to the previous month if there is one."""
    text = words(report.language)
    line = text["letter_line" if report.has_previous else "letter_first_line"]
    return [
        line.format(
            figure=text["figures"][figure.key],
            value=value_text(figure.current, figure.unit, report.language),
            difference=difference_text(figure),
        )
        for figure in map(report.figure, _SUMMARY)
    ]


def report_letters(
    tenant_id: str,
    report: MonthlyReport,
    addresses: Sequence[str],
    template: Template,
    *,
    formats: Sequence[str],
    run_date: date,
) -> list[MessageDraft]:
    """One e-mail per address, due at nine on the run's day. The same month and address give the same key."""
    due_at = sending_time(run_date)
    text = words(report.language)
    variables = {
        "tenant_name": report.tenant_name,
        "month": month_in_words(report.month, report.language),
        "files": text["listed"].join(_FORMAT_NAMES[name] for name in formats),
        "summary": "\n".join(summary_lines(report)),
        "has_previous": report.has_previous,
        "report_link": ServiceSettings.load().report_link_of(report.tenant_code, f"{report.month:%Y-%m}"),
        "notices": "\n".join(notices(report)),
    }
    return [
        notice(
            tenant_id,
            template,
            address,
            variables,
            dedupe_key=f"{occasion(report)}{_digest(address)}",
            due_at=due_at,
            dedupe_until=due_at + _DEDUPE,
        )
        for address in dict.fromkeys(addresses)
    ]


def occasion(report: MonthlyReport) -> str:
    """The common prefix of the keys of a month's e-mails."""
    return f"{MONTHLY_REPORT}:{report.month:%Y-%m}:"


def _digest(address: str) -> str:
    """A hash of the address, because keys are logged and addresses must not be."""
    return hashlib.sha256(address.lower().encode()).hexdigest()[:12]
