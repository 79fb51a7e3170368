"""Reminders that the application's data call for: certificates that end, goals that are due. Pure: rows in, messages out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from include.messaging.outbox import Draft
from include.messaging.outcome import Channel
from include.messaging.templates import Template, TemplateRefusedError, render

CERTIFICATE_EXPIRY = "certificate_expiry"
GOAL_DUE = "goal_due"


@dataclass(frozen=True)
class Occasion:
    """Something that one employee is reminded of: a certificate or a goal (``reference``), and the Japanese day it ends on."""

    template_key: str
    reference: str
    email: str | None = field(repr=False)
    ends_on: date
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Reminders:
    """The messages of a tenant, and remarks for its outcome about what could not be written."""

    drafts: list[Draft]
    notes: list[str]


def reminders(
    tenant_id: str,
    occasions: Iterable[Occasion],
    today: date,
    *,
    days_before: Mapping[str, Sequence[int]],
    templates: Mapping[str, Template],
    due_at: datetime,
) -> Reminders:
    """One e-mail per occasion and threshold: the nearest threshold that is not below the days left, so that a missed day is made up for.

    ``days_before`` are the thresholds by template key. Without an address there is nobody to write to, and the note counts those.
    """
    drafts: list[Draft] = []
    refused: dict[str, str] = {}
    unreachable = 0
    for occasion in occasions:
        days_left = (occasion.ends_on - today).days
        threshold = _threshold(days_left, days_before[occasion.template_key])
        if threshold is None:
            continue
        if not occasion.email:
            unreachable += 1
            continue
        variables = {**occasion.variables, "days_left": days_left}
        try:
            rendered = render(templates[occasion.template_key], variables)
        except TemplateRefusedError as error:
            refused[occasion.template_key] = str(error)
            continue
        drafts.append(
            Draft(
                tenant_id=tenant_id,
                dedupe_key=f"{occasion.template_key}:{occasion.reference}:{occasion.ends_on}:{threshold}",
                channel=Channel.EMAIL,
                destination=occasion.email,
                subject=rendered.subject,
                body=rendered.text,
                rich=rendered.rich,
                due_at=due_at,
                # The day after, nobody is reminded of it any more.
                dedupe_until=due_at + timedelta(days=days_left + 1),
            )
        )
    notes = [
        *refused.values(),
        *([f"メールアドレスのない宛先 {unreachable} 件に通知できません"] if unreachable else []),
    ]
    return Reminders(drafts, notes)


def _threshold(days_left: int, days_before: Sequence[int]) -> int | None:
    """The reminder that is due with so many days left: 30, 7, 1 and 28 days left is that of 30. None: too early, or over."""
    if days_left < 0:
        return None
    return min((days for days in days_before if days_left <= days), default=None)
