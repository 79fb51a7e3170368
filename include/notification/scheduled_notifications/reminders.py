"""Reminders of certificates that end and of goals that are due. Pure: rows in, messages out."""

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
    """The reason for one employee's reminder: a certificate or a goal (``reference``), and the Japanese day on which it ends."""

    template_key: str
    reference: str
    email: str | None = field(repr=False)
    ends_on: date
    variables: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Reminders:
    """The messages of a tenant, and notes for its outcome about messages that could not be written."""

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
    """One e-mail per occasion and threshold. The threshold is the smallest that is not below the days left, so a missed day is caught up.

    ``days_before`` are the thresholds by template key. Occasions without an address have no e-mail; a note counts them.
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
                # After this day no reminder of the occasion can follow.
                dedupe_until=due_at + timedelta(days=days_left + 1),
            )
        )
    notes = [
        *refused.values(),
        *([f"メールアドレスのない宛先 {unreachable} 件に通知できません"] if unreachable else []),
    ]
    return Reminders(drafts, notes)


def _threshold(days_left: int, days_before: Sequence[int]) -> int | None:
    """The due threshold for the days left: with thresholds 30, 7, 1 and 28 days left it is 30. None if it is too early or too late."""
    if days_left < 0:
        return None
    return min((days for days in days_before if days_left <= days), default=None)
