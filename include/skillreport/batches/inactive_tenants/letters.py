"""The notification to a tenant's contact when no user has used the service for a long time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from include.skillreport.batches.inactive_tenants.rules import Stage
from include.skillreport.core.written_dates import day_in_words
from include.skillreport.messaging.contract_letters import INACTIVITY_CRITICAL, INACTIVITY_WARNING
from include.skillreport.messaging.notices import notice, sending_time
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.templates import Template

# A stage that ends and begins again within one period of inactivity (settings, a trial) is not sent again for this long.
_DEDUPE = timedelta(days=366)

TEMPLATE_OF = {Stage.WARNING: INACTIVITY_WARNING, Stage.CRITICAL: INACTIVITY_CRITICAL}

_NEVER = {"ja": "まだご利用がありません（{began_on}から）", "en": "none yet (since {began_on})"}


@dataclass(frozen=True)
class Contact:
    """The address for a tenant's notifications, and the tenant's name for the greeting."""

    address: str
    tenant_name: str


@dataclass(frozen=True)
class Silence:
    """The inactivity of a tenant as of a day. ``since`` is the last activity, or the first day if there was none."""

    stage: Stage
    days: int
    since: date
    last_activity_on: date | None
    as_of: date


def inactivity_letter(
    tenant_id: str, silence: Silence, contact: Contact, templates: Mapping[str, Template], *, run_date: date
) -> MessageDraft:
    """The e-mail about a stage that has a template, due at nine on the run's day; one per stage and period of inactivity."""
    key = TEMPLATE_OF[silence.stage]
    template = templates[key]
    due_at = sending_time(run_date)
    return notice(
        tenant_id,
        template,
        contact.address,
        {
            "tenant_name": contact.tenant_name,
            "days": silence.days,
            "as_of": day_in_words(silence.as_of, template.language),
            "last_activity": (
                day_in_words(silence.last_activity_on, template.language)
                if silence.last_activity_on
                else _NEVER[template.language].format(began_on=day_in_words(silence.since, template.language))
            ),
        },
        dedupe_key=f"{key}:{silence.since}",
        due_at=due_at,
        dedupe_until=due_at + _DEDUPE,
    )
