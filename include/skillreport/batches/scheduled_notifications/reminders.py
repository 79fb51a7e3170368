"""Reminders of expiring certificates and due goals. Pure: rows in, messages out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from include.skillreport.core.written_dates import day_in_words, days_in_words
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.outbox import MessageDraft
from include.skillreport.messaging.reminder_names import with_all_names
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.templates import Template, TemplateRefusedError, render


@dataclass(frozen=True)
class Route:
    """A template, which determines the channel, and a destination. An e-mail goes to the employee and has no destination here."""

    template: Template
    destination: str = field(default="", repr=False)


@dataclass(frozen=True)
class Occasion:
    """The event of one employee's reminder: a certificate or a goal (``reference``), and its last day in Japan.

    A reminder shows dates of ``variables`` in words, in the language of its template.
    """

    template_key: str
    reference: str
    email: str | None = field(repr=False)
    ends_on: date
    variables: Mapping[str, str | date] = field(repr=False)


@dataclass(frozen=True)
class Reminders:
    """A tenant's messages, and notes about messages that could not be written."""

    drafts: list[MessageDraft]
    notes: list[str]


def reminders(
    tenant_id: str,
    occasions: Iterable[Occasion],
    today: date,
    *,
    days_before: Mapping[str, Sequence[int]],
    routes: Mapping[str, Sequence[Route]],
    due_at: datetime,
    service: ServiceSettings,
) -> Reminders:
    """One message per event, threshold and route. The threshold is the smallest that the days left do not exceed, so the next run
    catches up a missed day.

    ``days_before`` are the thresholds and ``routes`` the routes, by template key. Employees without an address get no e-mail; a note counts
    them. ``service`` provides variables such as ``service_name``.
    """
    drafts: list[MessageDraft] = []
    refused: dict[str, str] = {}
    unreachable = 0
    for occasion in occasions:
        days_left = (occasion.ends_on - today).days
        threshold = _threshold(days_left, days_before[occasion.template_key])
        if threshold is None:
            continue
        for route in routes[occasion.template_key]:
            is_mail = route.template.channel == EMAIL
            if is_mail and not occasion.email:
                unreachable += 1
                continue
            language = route.template.language
            variables = _in_words(occasion.variables, days_left, language)
            try:
                rendered = render(route.template, {**service.values(language), **variables})
            except TemplateRefusedError as error:
                refused[route.template.key] = str(error)
                continue
            drafts.append(
                MessageDraft(
                    tenant_id=tenant_id,
                    dedupe_key=_dedupe_key(occasion, threshold, route),
                    channel=route.template.channel,
                    destination=(occasion.email or "") if is_mail else route.destination,
                    subject=rendered.subject,
                    body=rendered.text,
                    rich=rendered.rich,
                    template_key=occasion.template_key,
                    language=language,
                    due_at=due_at,
                    # After this day no reminder of the event can follow.
                    dedupe_until=due_at + timedelta(days=days_left + 1),
                )
            )
    notes = [
        *refused.values(),
        *([f"メールアドレスのない宛先 {unreachable} 件に通知できません"] if unreachable else []),
    ]
    return Reminders(drafts, notes)


def _in_words(variables: Mapping[str, str | date], days_left: int, language: str) -> dict[str, object]:
    in_words = {
        name: day_in_words(value, language) if isinstance(value, date) else value
        for name, value in variables.items()
    }
    return with_all_names(in_words | {"days_left": days_left, "due_in": days_in_words(days_left, language)})


def _dedupe_key(occasion: Occasion, threshold: int, route: Route) -> str:
    key = f"{occasion.template_key}:{occasion.reference}:{occasion.ends_on}:{threshold}"
    if route.template.channel == EMAIL:
        return key
    # Keys are logged, and a destination may be personal.
    digest = hashlib.sha256(route.destination.encode()).hexdigest()[:12]
    return f"{key}:{route.template.channel}:{digest}"


def _threshold(days_left: int, days_before: Sequence[int]) -> int | None:
    """The due threshold for the days left: with thresholds 30, 7, 1 and 28 days left it is 30. None if it is too early or too late."""
    if days_left < 0:
        return None
    return min((days for days in days_before if days_left <= days), default=None)
