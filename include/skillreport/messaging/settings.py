"""Settings of notifications (when they are sent, expire and are deleted), and of the service that signs the e-mails."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from include.skillreport.core.setting_types import (
    Days,
    Flag,
    Hours,
    Listed,
    QuietHours,
    Range,
    WebAddress,
    below,
)
from include.skillreport.core.settings import Part, Section, TenantSection

# The earliest reminder before a due date.
LONGEST_REMINDER_DAYS = 90


ReminderKinds = Annotated[tuple[Literal["certificate_expiry", "goal_due"], ...], Listed]

DaysBefore = Annotated[
    tuple[Annotated[int, Range(1, LONGEST_REMINDER_DAYS)], ...],
    Field(min_length=1),
    Listed,
]


class NotificationSettings(TenantSection):
    """When BATCH-019 sends, expires and deletes notifications. A tenant may override each setting.

    ``quiet_hours`` (the tenant's time zone) is ``22:00-07:00`` or empty. ``digest`` are the kinds of reminders of which a recipient gets
    one message per run. ``fallback_hours`` is 0 (never) or the hours after which a closed channel's messages go out by e-mail.
    """

    key = "notification"

    expire_hours: Hours
    give_up_hours: Hours
    certificate_days: DaysBefore
    goal_days: DaysBefore
    language: Literal["ja", "en"]
    quiet_hours: QuietHours
    retention_days: Days
    archive_days: Days
    auto_disable: Flag
    own_mail_server: Flag
    digest: ReminderKinds
    fallback_hours: Annotated[int, Range(0, 24 * 30)]
    suppress_days: Annotated[int, Range(1, 3_650)]

    @model_validator(mode="after")
    def _fallback_is_in_time(self) -> Self:
        if self.fallback_hours >= self.give_up_hours:
            raise ValueError(below("fallback_hours", "give_up_hours"))
        return self


class EnglishServiceSettings(Part):
    """The service's names in English e-mails. If ``contact`` is empty, the Japanese one is used."""

    name: str
    company: str
    contact: str = ""


class ServiceSettings(Section):
    """The sender of e-mails that are not about billing, and the contact for questions. Invoices have an issuer instead.

    ``sample``: the service is not entered yet, so e-mails have no signature. ``contact`` is a mail address or a telephone number.
    ``report_link`` is the web address of a tenant's monthly reports, with ``{tenant_code}`` and ``{month}`` (``2026-10``).
    """

    key = "service"

    sample: Flag
    name: str
    company: str
    contact: str
    url: WebAddress
    report_link: WebAddress = ""
    english: EnglishServiceSettings | None = None

    @model_validator(mode="after")
    def _names_who_writes(self) -> Self:
        if not self.sample and not (self.name and self.company and self.contact):
            raise ValueError("sample: false には、name、company、contact のすべてが必要です")
        return self

    def warning(self) -> tuple[str, str, str] | None:
        """A warning if e-mails have no signature: code, text and action."""
        if not self.sample:
            return None
        return (
            "service-unnamed",
            "メールに署名がありません。設定の service に、サービスの名前と問い合わせ先がまだないためです。",
            "設定ファイル（SKILL_BATCH_SETTINGS）の service に name、company、contact を書き、sample: false にしてください。",
        )

    def values(self, language: str) -> dict[str, str]:
        """The variables of templates: ``service_name``, ``service_company``, ``service_contact`` and ``service_url``. A sample has none."""
        if self.sample:
            return dict.fromkeys(_VALUES, "")
        named = self.english if language == "en" and self.english else self
        found = (named.name, named.company, named.contact or self.contact, self.url)
        return dict(zip(_VALUES, found, strict=True))

    def report_link_of(self, tenant_code: str, month: str) -> str:
        """The web address of a tenant's reports of a month; empty if there is none."""
        values = {"{tenant_code}": quote(tenant_code, safe=""), "{month}": month}
        link = self.report_link
        for name, value in values.items():
            link = link.replace(name, value)
        return link

    def signature(self, language: str, tenant_name: str) -> str:
        """The last lines of an e-mail to a tenant; empty for a sample. The first line is the separator of RFC 3676."""
        if self.sample:
            return ""
        return _SIGNATURES[language].format(tenant=tenant_name, **self.values(language)).rstrip("\n")


_VALUES = ("service_name", "service_company", "service_contact", "service_url")

_SIGNATURES = {
    "ja": "-- \n{service_name}（{service_company}）\nご契約者: {tenant}\nお問い合わせ: {service_contact}\n{service_url}",
    "en": "-- \n{service_name} ({service_company})\nCustomer: {tenant}\nQuestions: {service_contact}\n{service_url}",
}
