"""Every kind of letter in both languages, made by the product's code from fixed values: for the documentation and for checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Literal

from include.skillreport.batches.external_sync.letter import gone_letter
from include.skillreport.batches.external_sync.listing import ListedDirectory
from include.skillreport.batches.external_sync.plan import EntryKind, PlanEntry
from include.skillreport.batches.inactive_tenants.letters import Contact, Silence, inactivity_letter
from include.skillreport.batches.inactive_tenants.rules import Stage
from include.skillreport.batches.monthly_report.figures import RULES, Figure
from include.skillreport.batches.monthly_report.letter import report_letters
from include.skillreport.batches.monthly_report.report import DayFigures, MonthlyReport
from include.skillreport.batches.notification_retry.fallback import fallback_letter
from include.skillreport.batches.notification_settings_check.letter import settings_letter
from include.skillreport.batches.notification_settings_check.rules import (
    TenantSettings,
    findings_in,
    service_finding,
)
from include.skillreport.batches.scheduled_notifications.digests import digests
from include.skillreport.batches.scheduled_notifications.reminders import Occasion, Route, reminders
from include.skillreport.batches.tenant_usage.letters import usage_letter
from include.skillreport.batches.tenant_usage.warnings import UsageWarning
from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts, corrected_invoice
from include.skillreport.billing.ledger.letter_texts import (
    LetterTexts,
    document_letter,
    recipient_letter,
    reminder_letter,
    void_letter,
)
from include.skillreport.messaging.channels import EMAIL
from include.skillreport.messaging.channels.channel import ChannelFinding
from include.skillreport.messaging.channels.email.letter import Letter as EMailLetter
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.contract_letters import (
    BILLING_LETTERS,
    CHANNELS_GONE,
    CREDIT_NOTE,
    GENERAL,
    INACTIVITY_CRITICAL,
    INACTIVITY_WARNING,
    INVOICE,
    INVOICE_VOID,
    MONTHLY_REPORT,
    PAYMENT_REMINDER,
    RECIPIENT_CHANGED,
    SETTINGS_BROKEN,
    USAGE_WARNING,
)
from include.skillreport.messaging.message import Message, MessageFile
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE
from include.skillreport.messaging.settings import ServiceSettings
from include.skillreport.messaging.template_store import default_template
from include.skillreport.messaging.templates import Template, literal
from tests.worlds import sample_invoices as samples

Language = Literal["ja", "en"]

TODAY = date(2026, 11, 29)
TENANT = {"ja": "株式会社青葉商事", "en": "Aoba Trading Co., Ltd."}
PERSON = {"ja": "山田 花子", "en": "Hanako Yamada"}
MESSAGE_ID = "3f2b8a54-0c1d-4e6f-9a7b-1234567890ab"

_DUE = datetime(2026, 11, 29, tzinfo=UTC)
_ADDRESS = "kanri@aoba.example.jp"
_LINK = "https://portal.cloud-service.example/invoices/{number}"


@dataclass(frozen=True)
class SampleLetter:
    """A kind of letter, with its name in the documentation."""

    name: str
    message: Message


def arrived_text(letter: EMailLetter) -> tuple[str, str]:
    """Subject and text of a letter, as a standard parser reads them."""
    parsed = message_from_bytes(letter.content, policy=default_policy)
    assert isinstance(parsed, EmailMessage)
    text = parsed.get_body(("plain",))
    assert text is not None
    return parsed["Subject"], text.get_content()


def every_letter(language: Language) -> list[SampleLetter]:
    """All kinds of letters in a language, always with the same values."""
    notices = [SampleLetter(name, _message(draft)) for name, draft in _notices(language)]
    return [*notices, *(_billing_letter(*each) for each in _billing(language))]


def _message(draft: MessageDraft) -> Message:
    kind = draft.template_key or GENERAL
    assert kind not in BILLING_LETTERS
    return Message(
        MESSAGE_ID,
        draft.tenant_id,
        EMAIL,
        draft.destination,
        draft.subject,
        draft.body,
        draft.rich,
        kind=kind,
        signature=ServiceSettings.load().signature(draft.language, TENANT[draft.language]),
    )


def _notices(language: Language) -> Iterator[tuple[str, MessageDraft]]:
    yield "資格の期限の通知", _reminder(CERTIFICATE_EXPIRY, language)
    yield "目標の期限の通知", _reminder(GOAL_DUE, language)
    yield "複数の期限をまとめた通知", _digest(language)
    yield "アプリケーションの通知", _notification(language)
    for name, metric, observed, allowance in (
        ("利用量の通知（ストレージ）", "storage_bytes", 85 * 2**30, 100 * 2**30),
        ("利用量の通知（API）", "api_calls", 81_234, 100_000),
    ):
        warning = UsageWarning(
            "quota",
            metric,
            Decimal(80),
            date(2026, 11, 1),
            Decimal(observed),
            Decimal(allowance),
        )
        templates = {USAGE_WARNING: default_template(USAGE_WARNING, language)}
        yield name, usage_letter("T1", warning, _ADDRESS, templates, run_date=TODAY)
    yield "利用がないときの通知（警告）", _inactivity(Stage.WARNING, 60, date(2026, 9, 29), language)
    yield "利用がないときの通知（重大）", _inactivity(Stage.CRITICAL, 90, None, language)
    yield "通知の設定の問題", _settings_letter(language)
    yield "通知先のチャンネルがなくなったとき", _channels_gone(language)
    yield "月次レポート", _monthly_report(language)
    yield (
        "停止したチャネルの通知を管理者に送るメール",
        fallback_letter(Lane("T1", SLACK), [_behind_slack(language)], _ADDRESS, _DUE, language),
    )


def _template(key: str, language: Language) -> Template:
    return default_template(key, language)


def _reminders(occasions: Sequence[Occasion], key: str, language: Language) -> list[MessageDraft]:
    return reminders(
        "T1",
        occasions,
        TODAY,
        days_before={key: (30, 7, 1)},
        routes={key: [Route(_template(key, language))]},
        due_at=_DUE,
        service=ServiceSettings.load(),
    ).drafts


def _occasion(key: str, language: Language) -> Occasion:
    ends_on = {CERTIFICATE_EXPIRY: date(2026, 12, 27), GOAL_DUE: date(2026, 12, 5)}[key]
    named: dict[str, str | date] = (
        {
            "certificate_name": {"ja": "基本情報技術者", "en": "Fundamental IT Engineer"}[language],
            "expires_on": ends_on,
        }
        if key == CERTIFICATE_EXPIRY
        else {
            "goal_title": {"ja": "英語で会議を進める", "en": "Lead a meeting in English"}[language],
            "due_on": ends_on,
        }
    )
    return Occasion(key, "1", "hanako@aoba.example.jp", ends_on, {"full_name": PERSON[language], **named})


def _reminder(key: str, language: Language) -> MessageDraft:
    (draft,) = _reminders([_occasion(key, language)], key, language)
    return draft


def _digest(language: Language) -> MessageDraft:
    drafts = _reminders([_occasion(GOAL_DUE, language)] * 2, GOAL_DUE, language)
    merged, *_ = digests(drafts, [GOAL_DUE])
    return merged


def _notification(language: Language) -> MessageDraft:
    subject, body = {
        "ja": (
            "スキルが承認されました",
            f"{PERSON['ja']} 様\n\nスキル「Java」が承認されました。内容をご確認ください。\n",
        ),
        "en": (
            "Your skill was approved",
            f"Dear {PERSON['en']},\n\nYour skill Java was approved. Please check it.\n",
        ),
    }[language]
    shown = literal(EMAIL, subject, body)
    return MessageDraft(
        "T1",
        "host:1",
        EMAIL,
        "hanako@aoba.example.jp",
        shown.subject,
        shown.text,
        _DUE,
        shown.rich,
        language=language,
    )


def _inactivity(stage: Stage, days: int, last: date | None, language: Language) -> MessageDraft:
    key = {Stage.WARNING: INACTIVITY_WARNING, Stage.CRITICAL: INACTIVITY_CRITICAL}[stage]
    silence = Silence(stage, days, last or date(2026, 8, 30), last, date(2026, 11, 28))
    contact = Contact(_ADDRESS, TENANT[language])
    return inactivity_letter("T1", silence, contact, {key: _template(key, language)}, run_date=TODAY)


def _settings_letter(language: Language) -> MessageDraft:
    row = {
        "template_key": "goal_due",
        "notification_type": "EMAIL",
        "language": "ja",
        "subject": "",
        "body": "{{ fullname }} 様",
        "is_html": False,
        "is_markdown": False,
        "sample_data": "{}",
        "id": "1",
    }
    setting = {
        "setting_key": "goal_deadline_reminder",
        "notification_type": "SLACK",
        "template_id": None,
        "trigger_event": "goal_deadline_approaching",
        "channel_config": '{"channel": "C0123456789"}',
    }
    tenant = TenantSettings(
        templates=[row],
        settings=[setting],
        refused_preferences={"quiet_hours": "22-7", "timezone": "JST-9"},
    )
    refused = service_finding("接続先 Slack", SLACK, ChannelFinding(SLACK.errors["invalid_auth"]))
    findings = [(each.subject, each.detail, each.english) for each in (*findings_in(tenant), refused)]
    template = _template(SETTINGS_BROKEN, language)
    return settings_letter("T1", findings, template, _ADDRESS, execution_id="1", run_date=TODAY)


def _channels_gone(language: Language) -> MessageDraft:
    entries = [
        PlanEntry(kind, "1", "", before={"setting_key": key, "channels": channels})
        for kind, key, channels in (
            (EntryKind.DISABLE_SETTING, "goal_deadline_reminder", ["team-sales"]),
            (EntryKind.SETTING_AFFECTED, "skill_expiry", ["team-a", "team-b"]),
        )
    ]
    unit = ListedDirectory("T1", SLACK, "1", TODAY)
    return gone_letter(unit, entries, _template(CHANNELS_GONE, language), _ADDRESS)


def _monthly_report(language: Language) -> MessageDraft:
    report = MonthlyReport(
        tenant_code="aoba",
        tenant_name=TENANT[language],
        month=date(2026, 10, 1),
        language=language,
        colour="#1f3a5f",
        fiscal_year=2026,
        fiscal_start=date(2026, 4, 1),
        fiscal_data_from=date(2026, 5, 11),
        figures=tuple(
            Figure(
                key=rule.key,
                unit=rule.unit,
                fiscal_unit=rule.unit,
                fiscal_kind=rule.fiscal_kind,
                rise_is=rule.rise_is,
                is_comparable=True,
                current=Decimal(42),
                previous=Decimal(40),
                fiscal=None,
            )
            for rule in RULES
        ),
        days=tuple(DayFigures(date=date(2026, 10, day), is_missing=day == 12) for day in range(1, 32)),
        previous_missing_days=(),
        months=(),
        categories=(),
        departments=(),
        goals=(),
    )
    template = _template(MONTHLY_REPORT, language)
    (draft,) = report_letters(
        "T1", report, [_ADDRESS], template, formats=["excel", "pdf"], run_date=date(2026, 11, 1)
    )
    return draft


def _behind_slack(language: Language) -> dict[str, object]:
    notification = _notification(language)
    return {
        "message_id": MESSAGE_ID,
        "priority": 2,
        "subject": notification.subject,
        "body": f"{notification.subject}\n\n{notification.body}",
        "host_subject": None,
    }


def _billing(language: Language) -> Iterator[tuple[str, str, LetterTexts, bool]]:
    """Name, kind, letter, and whether its file is attached."""
    invoice = samples.ordinary() if language == "ja" else samples.english()
    reason = {"ja": "二重に請求したため", "en": "Charged twice"}[language]
    open_amount = {"ja": Decimal(55_000), "en": Decimal("597.45")}[language]
    what = {"ja": "宛名を訂正", "en": "Name corrected"}[language]
    corrected = corrected_invoice(invoice, CorrectedTexts(note="PO-1"), what, date(2026, 11, 10))
    credit = samples.part_credit(invoice, "1000" if language == "ja" else "100", reason)
    full_credit = samples.full_credit(invoice, reason)
    yield "請求書", INVOICE, document_letter(invoice, "attachment", _LINK), True
    yield "請求書（書類が大きいとき）", INVOICE, document_letter(invoice, "attachment", _LINK), False
    yield "請求書（書類は問い合わせを受けて送る）", INVOICE, document_letter(invoice, "none", ""), False
    replacement = document_letter(samples.replacement(invoice), "link", _LINK)
    yield "請求書（取り消した請求書に代わるもの、書類はリンク）", INVOICE, replacement, False
    yield "訂正した請求書", INVOICE, document_letter(corrected, "attachment", _LINK), True
    partly_paid = document_letter(corrected, "attachment", _LINK, open_amount=open_amount)
    yield "訂正した請求書（残額のあるもの）", INVOICE, partly_paid, True
    letter = document_letter(credit, "attachment", _LINK, original_due_on=invoice.due_on)
    yield "返還（一部）", CREDIT_NOTE, letter, True
    yield "返還（全額）", CREDIT_NOTE, document_letter(full_credit, "attachment", _LINK), True
    letter = document_letter(full_credit, "attachment", _LINK, is_original_unsent=True)
    yield "返還（請求書を送る前の全額）", CREDIT_NOTE, letter, True
    yield "請求書の取消", INVOICE_VOID, void_letter(invoice, reason), False
    for name, is_repeated in (("督促", False), ("再度の督促", True)):
        letter = reminder_letter(invoice, open_amount, "attachment", _LINK, is_repeated=is_repeated)
        yield name, PAYMENT_REMINDER, letter, True
    letter = recipient_letter(invoice.issuer, language, invoice.recipient.name)
    yield "送付先の変更", RECIPIENT_CHANGED, letter, False


def _billing_letter(name: str, kind: str, letter: LetterTexts, is_attached: bool) -> SampleLetter:
    shown = literal(EMAIL, letter.subject, letter.body)
    file = None
    if letter.attached_text is not None and letter.unattached_text is not None:
        file = MessageFile(
            "invoice-INV-2026-10-001.pdf",
            "key",
            "0",
            is_attached,
            letter.attached_text,
            letter.unattached_text,
            b"%PDF-1.7\n" if is_attached else None,
        )
    address = "keiri@aoba.example.jp"
    message = Message(
        MESSAGE_ID, "T1", EMAIL, address, shown.subject, shown.text, shown.rich, file, kind=kind
    )
    return SampleLetter(name, message)
