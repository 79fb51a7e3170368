"""The checks of a tenant's notification settings that need no service. Pure: rows in, findings out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.skillreport.messaging.channels import EMAIL, channel_of, notification_channel
from include.skillreport.messaging.channels.channel import Channel, json_object
from include.skillreport.messaging.channels.email.letter import is_address
from include.skillreport.messaging.destinations import destinations_of
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.reminder_names import sample_of
from include.skillreport.messaging.templates import Template, TemplateRefusedError, render


@dataclass(frozen=True, order=True)
class SettingFinding:
    """A setting that does not work. ``subject`` names the setting, ``code`` the problem; ``detail`` is a sentence for people."""

    subject: str
    code: str
    detail: str

    def sentence(self) -> str:
        """The finding for logs and e-mails."""
        return f"{self.subject}: {self.detail}"


@dataclass(frozen=True)
class TenantSettings:
    """A tenant's rows from the database; ``former_mailboxes`` are in lower case."""

    integrations: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    templates: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    settings: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    former_mailboxes: Collection[str] = field(default=(), repr=False)
    preferences_problem: str | None = None


def findings_in(tenant: TenantSettings) -> list[SettingFinding]:
    """All findings, in a fixed order."""
    found = [
        *_preferences(tenant.preferences_problem),
        *_integrations(tenant.integrations),
        *_templates(tenant.templates),
        *_settings(tenant),
    ]
    return sorted(set(found))


def _preferences(problem: str | None) -> Iterator[SettingFinding]:
    if problem:
        yield SettingFinding("MST_TenantSettings", "invalid_setting", problem)


def _integrations(rows: Iterable[Mapping[str, Any]]) -> Iterator[SettingFinding]:
    usable: Counter[Channel] = Counter()
    for row in rows:
        channel = channel_of(row["integration_key"], row["integration_type"])
        if channel is None:
            continue  # not a channel of this product
        usable[channel] += row["id"] is not None
        if config_of(channel, row) is None:
            yield SettingFinding(
                channel,
                "incomplete",
                f"SYS_IntegrationConfig '{row['integration_key']}' の認証情報が足りないか、JSON として読めません",
            )
    for channel, count in usable.items():
        if count > 1:
            yield SettingFinding(
                channel,
                "duplicate",
                f"有効な設定が {count} 件あります（slack、teams など通知用のキーのもの、次に最後に変更したものを使います）",
            )


def _templates(rows: Sequence[Mapping[str, Any]]) -> Iterator[SettingFinding]:
    seen: Counter[tuple[str, Channel, str]] = Counter()
    for row in rows:
        subject = f"テンプレート {row['template_key']}（{row['notification_type']}、{row['language']}）"
        channel = notification_channel(row["notification_type"])
        if channel is None:
            yield SettingFinding(subject, "unknown_channel", "通知の種類（notification_type）が分かりません")
            continue
        seen[row["template_key"], channel, row["language"]] += 1
        yield from _template(subject, channel, row)
    for (key, channel, language), count in seen.items():
        if count > 1:
            yield SettingFinding(
                f"テンプレート {key}（{channel}、{language}）",
                "duplicate",
                f"同じテンプレートが {count} 件あります",
            )


def _template(subject: str, channel: Channel, row: Mapping[str, Any]) -> Iterator[SettingFinding]:
    sample = json_object(row["sample_data"])
    if sample is None:
        yield SettingFinding(subject, "bad_sample", "見本データ（sample_data）を JSON として読めません")
        return
    template = Template(
        row["template_key"],
        channel,
        row["language"],
        row["subject"],
        row["body"],
        row["is_html"],
        row["is_markdown"],
    )
    try:
        rendered = render(template, sample_of(row["template_key"], sample))
    except TemplateRefusedError as error:
        yield SettingFinding(subject, "template_refused", str(error))
        return
    if channel.longest_text is not None and len(rendered.text) > channel.longest_text:
        yield SettingFinding(subject, "too_long", f"見本データで {channel.longest_text:,} 文字を超えます")


def _settings(tenant: TenantSettings) -> Iterator[SettingFinding]:
    known_templates = {row["id"] for row in tenant.templates} | {
        row["template_key"] for row in tenant.templates
    }
    configured = {
        channel
        for row in tenant.integrations
        if (channel := channel_of(row["integration_key"], row["integration_type"]))
    } | {EMAIL}
    seen: Counter[tuple[object, ...]] = Counter()
    for row in tenant.settings:
        subject = f"通知設定 {row['setting_key']}"
        channel = notification_channel(row["notification_type"])
        if channel is None:
            yield SettingFinding(subject, "unknown_channel", "通知の種類（notification_type）が分かりません")
            continue
        if channel not in configured:
            yield SettingFinding(subject, "not_configured", f"{channel} の外部連携が設定されていません")
        if row["template_id"] and row["template_id"] not in known_templates:
            yield SettingFinding(
                subject, "no_template", f"テンプレート '{row['template_id']}' がないか無効です"
            )
        if json_object(row["channel_config"]) is None:
            yield SettingFinding(subject, "bad_config", "宛先（channel_config）を JSON として読めません")
        destinations = destinations_of(row)
        if channel == EMAIL:
            yield from _mailboxes(subject, destinations, tenant.former_mailboxes)
        for event in [row["trigger_event"]] if row["trigger_event"] else []:
            for destination in destinations:
                seen[event, channel, destination.lower()] += 1
    for (event, channel_name, _), count in seen.items():
        if count > 1:
            yield SettingFinding(
                f"通知設定（{event}、{channel_name}）",
                "duplicate",
                f"同じ宛先への設定が {count} 件あり、同じ通知が重複します",
            )


def _mailboxes(
    subject: str, addresses: Sequence[str], former_mailboxes: Collection[str]
) -> Iterator[SettingFinding]:
    # Addresses are personal data and must not be logged, so only their number is shown.
    malformed = sum(not is_address(address) for address in addresses)
    if malformed:
        yield SettingFinding(
            subject, "invalid_address", f"メールアドレスの形式が正しくない宛先が {malformed} 件あります"
        )
    left = sum(address.lower() in former_mailboxes for address in addresses)
    if left:
        yield SettingFinding(subject, "recipient_left", f"退職した社員の宛先が {left} 件あります")
