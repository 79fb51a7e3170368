"""Sends the messages of a channel that stays closed to the tenant's administrator by e-mail, if the tenant has enabled this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.core.database import Statements
from include.skillreport.messaging import outbox
from include.skillreport.messaging.channels import CHANNELS, EMAIL
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.messaging.notices import load_administrators
from include.skillreport.messaging.outbox import Lane, MessageDraft
from include.skillreport.messaging.settings import NotificationSettings, ServiceSettings
from include.skillreport.messaging.switches import load_switched_off
from include.skillreport.messaging.templates import literal

_SQL = Statements(Path(__file__).parent)

# The maximum number of messages in one e-mail.
_MOST = 50
_RULE = "\n\n――――――――\n\n"

# Subject and introduction.
_TEXTS = {
    "ja": (
        "【要対応】{service} へ送信できなかった通知 {count} 件",
        "管理者様\n\n平素よりお世話になっております。{writer}\n"
        "{service} へ送信できないため、次の通知をこのメールでお送りします。{service} の設定をご確認ください。",
    ),
    "en": (
        "Action needed: {count} {messages} that could not be sent to {service}",
        "Dear administrator,\n\nThe following could not be sent to {service}. Please check the settings of {service}.",
    ),
}


def fall_back_to_mail(
    connection: psycopg.Connection,
    settings: Mapping[str, NotificationSettings],
    now: datetime,
    *,
    created_by: str,
) -> int:
    """Replace the messages behind closed channels by e-mails, in the caller's transaction. Returns the number of e-mails.

    A tenant's ``fallback_hours`` are the hours from the closure; 0: never. Omits tenants without an address, and messages that the
    application has withdrawn or the tenant has switched off.
    """
    administrators = load_administrators(connection)
    hours = {
        tenant_id: each.fallback_hours
        for tenant_id, each in settings.items()
        if each.fallback_hours and tenant_id in administrators
    }
    if not hours:
        return 0
    rows = _SQL.rows(
        connection,
        "take_behind_closed_channels",
        tenant_ids=list(hours),
        hours=list(hours.values()),
        switched_off=Jsonb(load_switched_off(connection, now).entries()),
        contract_letters=list(CONTRACT_LETTERS),
        now=now,
    )
    by_lane: dict[Lane, list[dict[str, Any]]] = {}
    for row in rows:
        by_lane.setdefault(Lane(row["tenant_id"], CHANNELS[row["channel"]]), []).append(row)
    drafts = [
        fallback_letter(
            lane,
            of_lane[start : start + _MOST],
            administrators[lane.tenant_id],
            now,
            settings[lane.tenant_id].language,
        )
        for lane, of_lane in by_lane.items()
        for start in range(0, len(of_lane), _MOST)
    ]
    outbox.mirror_to_host(connection, [row["message_id"] for row in rows])
    return outbox.enqueue(connection, drafts, created_by=created_by)


def fallback_letter(
    lane: Lane, rows: Sequence[Mapping[str, Any]], administrator: str, now: datetime, language: str
) -> MessageDraft:
    """One e-mail with the texts of these messages."""
    name = ServiceSettings.load().values(language)["service_name"]
    values = {
        "service": lane.channel.service,
        "count": len(rows),
        "messages": "message" if len(rows) == 1 else "messages",
        "writer": f"{name}です。" if name else "",
    }
    subject, introduction = (text.format(**values) for text in _TEXTS[language])
    texts = [_text(lane.channel, row) for row in rows]
    shown = literal(EMAIL, subject, "\n\n".join([introduction, _RULE.join(texts)]))
    return MessageDraft(
        tenant_id=lane.tenant_id,
        dedupe_key=f"fallback:{min(row['message_id'] for row in rows)}",
        channel=EMAIL,
        destination=administrator,
        subject=shown.subject,
        body=shown.text,
        rich=shown.rich,
        due_at=now,
        priority=min(row["priority"] for row in rows),
        language=language,
    )


def _text(channel: Channel, row: Mapping[str, Any]) -> str:
    """The message's subject and text: the application's present ones, otherwise the queued ones."""
    if row["host_subject"] is not None:
        now = literal(EMAIL, row["host_subject"], row["host_body"], is_html=row["host_is_html"])
        # The e-mail to the administrator does not include the file of a billing e-mail.
        elsewhere = f"\n\n{row['unattached_text']}" if row["unattached_text"] else ""
        return f"{now.subject}\n{now.text}{elsewhere}"
    return channel.plain_text(row["subject"], row["body"])
