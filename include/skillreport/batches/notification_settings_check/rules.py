"""The checks of a tenant's notification settings that need no service. Pure: rows in, findings out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from include.skillreport.core.yaml_files import load_yaml
from include.skillreport.messaging.channels import CHANNELS, EMAIL, channel_of, notification_channel
from include.skillreport.messaging.channels.channel import Channel, ChannelFinding, json_object
from include.skillreport.messaging.channels.email.letter import is_address
from include.skillreport.messaging.destinations import destinations_of, is_of_reminder
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.outcome import ErrorClass
from include.skillreport.messaging.reminder_names import sample_of, titles_of
from include.skillreport.messaging.templates import Template, TemplateRefusedError, render

_LONGEST_VALUE = 40

# The action for a service's answer in Japanese, and its meaning and the action in English.
_SERVICE_ANSWERS = defaultdict(
    lambda: (
        "サービスの側の設定を確かめてください",
        "the service does not accept messages. Please check its settings",
    ),
    {
        ErrorClass.CREDENTIAL: (
            "認証情報か権限を直してください",
            "the service refuses the login or its permissions. Please correct them",
        ),
        ErrorClass.CONFIGURATION: (
            "設定を直してください",
            "the settings cannot be used. Please correct them",
        ),
        ErrorClass.DESTINATION: (
            "宛先を直してください",
            "messages cannot be sent to the destination. Please correct it",
        ),
        ErrorClass.ADDRESS: ("宛先を直してください", "a destination does not exist. Please correct it"),
    },
)

_WARNING = (
    "早めに設定を変えてください",
    "the service ends these settings, or has ended them. Please change them soon",
)

_LANGUAGES = {"ja": ("日本語", "Japanese"), "en": ("英語", "English")}


@dataclass(frozen=True, order=True)
class SettingFinding:
    """A setting that does not work. ``subject`` names the setting, ``code`` the problem; ``detail`` is a sentence.

    ``subject`` and ``detail`` use the tenant's words, not the database's. ``english`` is the text for e-mails in English.
    """

    subject: str
    code: str
    detail: str
    english: str

    def sentence(self) -> str:
        """The finding for logs."""
        return f"{self.subject}: {self.detail}"


@dataclass(frozen=True)
class TenantSettings:
    """A tenant's rows from the database; ``former_mailboxes`` are in lower case."""

    integrations: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    templates: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    settings: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    former_mailboxes: Collection[str] = field(default=(), repr=False)
    refused_preferences: Mapping[str, str] = field(default_factory=dict)


def findings_in(tenant: TenantSettings) -> list[SettingFinding]:
    """All findings, in a fixed order."""
    found = [
        *_preferences(tenant.refused_preferences),
        *_integrations(tenant.integrations),
        *_templates(tenant.templates),
        *_settings(tenant),
    ]
    return sorted(set(found))


def service_finding(subject: str, channel: Channel, finding: ChannelFinding) -> SettingFinding:
    """The finding from a service's answer about its settings or a destination."""
    error = finding.error
    to_do, answer = _WARNING if finding.is_warning else _SERVICE_ANSWERS[error.error_class]
    about = ("（通知設定の宛先の 1 つ）", " (one of the destinations)") if finding.destination else ("", "")
    return SettingFinding(
        subject,
        error.code,
        f"{error.meaning}{about[0]}。{to_do}",
        f"{_name(channel)}: {answer}{about[1]}. The service's answer: {error.code}.",
    )


def _preferences(refused: Mapping[str, str]) -> Iterator[SettingFinding]:
    for key, value in refused.items():
        names = setting_names().get(key or "together", setting_names()["unknown"])
        (ja, en), shown = (names["ja"], names["en"]), value[:_LONGEST_VALUE]
        refusal = (f"「{shown}」は使えません。", f"the value {shown} cannot be used; ") if shown else ("", "")
        yield SettingFinding(
            f"通知の設定「{ja.get('name', key)}」",
            "invalid_setting",
            f"{refusal[0]}{ja['form']}。それまでは標準の設定を使います",
            f"Setting “{en.get('name', key)}”: {refusal[1]}{en['form']}. Until then the default applies.",
        )


@cache
def setting_names() -> dict[str, dict[str, dict[str, str]]]:
    """The names of the settings in e-mails, by setting, language and part."""
    names: dict[str, dict[str, dict[str, str]]] = load_yaml(Path(__file__).with_name("setting_names.yaml"))
    return names


def _integrations(rows: Iterable[Mapping[str, Any]]) -> Iterator[SettingFinding]:
    usable: Counter[Channel] = Counter()
    for row in rows:
        channel = channel_of(row["integration_key"], row["integration_type"])
        if channel is None:
            continue  # not a channel of this product
        usable[channel] += row["id"] is not None
        if config_of(channel, row) is None:
            key = row["integration_key"]
            yield SettingFinding(
                channel.label,
                "incomplete",
                f"外部連携「{key}」の認証情報が足りないか、読めません。入れ直してください",
                f'The credentials of the integration "{key}" are incomplete or cannot be read. Please enter them again.',
            )
    for channel, count in usable.items():
        if count > 1:
            yield SettingFinding(
                channel.label,
                "duplicate",
                f"有効な設定が {count} 件あります。1 件にしてください（使えるもののうち、slack、teams など通知用のキーのもの、次に最後に"
                "変更したものを使います）",
                f"There are {count} active integrations of {_name(channel)}. Please keep one; the newest usable one with the key "
                "for notifications is used.",
            )


def _templates(rows: Sequence[Mapping[str, Any]]) -> Iterator[SettingFinding]:
    titles = titles_of(row["template_key"] for row in rows)
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        channel, language = notification_channel(row["notification_type"]), row["language"]
        kinds = (channel.label, _name(channel)) if channel else (row["notification_type"],) * 2
        languages, named = _LANGUAGES.get(language, (language,) * 2), titles[row["template_key"]]
        subject = f"テンプレート「{named['ja']}」（{kinds[0]}、{languages[0]}）"
        english = f"Template “{named['en']}” ({kinds[1]}, {languages[1]})"
        if channel is None:
            yield _unknown_channel(subject, english)
            continue
        seen[subject, english] += 1
        yield from _template(subject, english, channel, row)
    for (subject, english), count in seen.items():
        if count > 1:
            yield SettingFinding(
                subject,
                "duplicate",
                f"同じテンプレートが {count} 件あります。1 件にしてください",
                f"{english} exists {count} times. Please keep one.",
            )


def _template(
    subject: str, english: str, channel: Channel, row: Mapping[str, Any]
) -> Iterator[SettingFinding]:
    sample = json_object(row["sample_data"])
    if sample is None:
        yield SettingFinding(
            subject,
            "bad_sample",
            "見本データを読めません。JSON の形にしてください",
            f"{english}: the sample data cannot be read. Please write them as JSON.",
        )
        return
    try:
        rendered = render(Template.of_row(row, channel), sample_of(row["template_key"], sample))
    except TemplateRefusedError as error:
        ja, en = error.reasons["ja"], error.reasons["en"]
        yield SettingFinding(
            subject,
            "template_refused",
            f"使えません。{ja}。直してください",
            f"{english} cannot be used: {en}. Please correct it.",
        )
        return
    longest = channel.longest_text
    if longest is not None and len(rendered.text) > longest:
        yield SettingFinding(
            subject,
            "too_long",
            f"見本データで {longest:,} 文字を超えます。短くしてください",
            f"{english} gives more than {longest:,} characters with the sample data. Please shorten it.",
        )


def _settings(tenant: TenantSettings) -> Iterator[SettingFinding]:
    known_templates = {row["id"] for row in tenant.templates} | {
        row["template_key"] for row in tenant.templates
    }
    configured = {
        channel
        for row in tenant.integrations
        if (channel := channel_of(row["integration_key"], row["integration_type"]))
    } | {EMAIL}
    titles = titles_of(row["setting_key"] for row in tenant.settings)
    seen: Counter[tuple[str, Channel, str]] = Counter()
    for row in tenant.settings:
        named = titles[row["setting_key"]]
        subject, english = f"通知設定「{named['ja']}」", f"Notification setting “{named['en']}”"
        channel = notification_channel(row["notification_type"])
        if channel is None:
            yield _unknown_channel(subject, english)
            continue
        if channel not in configured:
            yield SettingFinding(
                subject,
                "not_configured",
                f"{channel.label} の外部連携がありません。設定してください",
                f"{english}: there is no integration with {_name(channel)}. Please set it up.",
            )
        if row["template_id"] and row["template_id"] not in known_templates:
            yield SettingFinding(
                subject,
                "no_template",
                f"テンプレート '{row['template_id']}' がないか無効です。選び直してください",
                f'{english}: the template "{row["template_id"]}" does not exist or is not active. Please choose another.',
            )
        if json_object(row["channel_config"]) is None:
            yield SettingFinding(
                subject,
                "bad_config",
                "宛先を読めません。JSON の形にしてください",
                f"{english}: the destinations cannot be read. Please write them as JSON.",
            )
        destinations = destinations_of(row)
        if channel == EMAIL:
            yield from _mailboxes(subject, english, destinations, tenant.former_mailboxes)
        # A reminder is sent once to each destination, even if several settings name it.
        if row["trigger_event"] and not is_of_reminder(row):
            for destination in destinations:
                seen[row["trigger_event"], channel, destination.lower()] += 1
    events = titles_of(event for event, _, _ in seen)
    for (event, channel, _), count in seen.items():
        named = events[event]
        if count > 1:
            yield SettingFinding(
                f"通知設定「{named['ja']}」（{channel.label}）",
                "duplicate",
                f"同じ宛先への設定が {count} 件あり、同じ通知が重複します。1 件にしてください",
                f"{count} notification settings “{named['en']}” ({_name(channel)}) have the same destination, which gets each message "
                "several times. Please keep one.",
            )


def _mailboxes(
    subject: str, english: str, addresses: Sequence[str], former_mailboxes: Collection[str]
) -> Iterator[SettingFinding]:
    # Addresses are personal data and must not be logged, so only their number is shown.
    malformed = sum(not is_address(address) for address in addresses)
    if malformed:
        yield SettingFinding(
            subject,
            "invalid_address",
            f"メールアドレスの形式が正しくない宛先が {malformed} 件あります。直してください",
            f"{english}: destinations that are no valid e-mail address: {malformed}. Please correct them.",
        )
    left = sum(address.lower() in former_mailboxes for address in addresses)
    if left:
        yield SettingFinding(
            subject,
            "recipient_left",
            f"退職した社員の宛先が {left} 件あります。外してください",
            f"{english}: destinations of employees who have left: {left}. Please remove them.",
        )


def _unknown_channel(subject: str, english: str) -> SettingFinding:
    labels = [channel.label for channel in CHANNELS.values()]
    return SettingFinding(
        subject,
        "unknown_channel",
        f"通知の種類が分かりません。{'、'.join(labels)} のどれかにしてください",
        f"{english}: the type of the notification is unknown. It must be one of {', '.join(map(_name, CHANNELS.values()))}.",
    )


def _name(channel: Channel) -> str:
    return channel.label if channel.label.isascii() else "e-mail"
