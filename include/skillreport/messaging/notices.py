"""Notices to a tenant's administrators, for example about a nearly exhausted quota or broken settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import Template, TemplateRefusedError, render

_SQL = Statements(Path(__file__).parent)

_SENDING_TIME = time(9, 0)

# The note about a tenant without an address.
NOBODY_TO_TELL = "連絡先（contact_email、admin_email）がないため、お知らせを送れません"


def sending_time(day: date) -> datetime:
    """Nine o'clock on a day in Asia/Tokyo (aware). BATCH-019-01 sends due messages then."""
    return datetime.combine(day, _SENDING_TIME, JAPAN)


def load_administrators(connection: psycopg.Connection) -> dict[str, str]:
    """The e-mail addresses of the tenants' administrators, otherwise contacts, by tenant. Tenants without an address are missing."""
    rows = _SQL.execute(connection, "load_administrators")
    return {tenant_id: email for tenant_id, email, _ in rows if email}


def notice(
    tenant_id: str,
    template: Template,
    address: str,
    variables: Mapping[str, object],
    *,
    dedupe_key: str,
    due_at: datetime,
    dedupe_until: datetime | None = None,
) -> MessageDraft:
    """The e-mail for an event. If the tenant's template cannot be rendered, the built-in template is used.

    The template's variables are ``variables`` and those of the service (``ServiceSettings.values``).
    """
    variables = {**ServiceSettings.load().values(template.language), **variables}
    try:
        rendered = render(template, variables)
    except TemplateRefusedError:
        rendered = render(default_template(template.key, template.language), variables)
    return MessageDraft(
        tenant_id=tenant_id,
        dedupe_key=dedupe_key,
        channel=EMAIL,
        destination=address,
        subject=rendered.subject,
        body=rendered.text,
        rich=rendered.rich,
        due_at=due_at,
        template_key=template.key,
        language=template.language,
        dedupe_until=dedupe_until,
    )
