"""The channels (MST_TenantSettings) and kinds of reminders (MST_NotificationSettings) that a tenant has switched off.

A switch of the category NOTIFICATION, such as EMAIL_ENABLED = false, stops that channel's application notifications and reminders. E-mails
to administrators (invoices, usage warnings, reports) are still sent. An inactive tenant gets only these.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.business_date import naive_utc
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES
from include.skillreport.messaging.channels import CHANNELS, notification_channel
from include.skillreport.messaging.destinations import destinations_for
from include.skillreport.messaging.outbox import Lane
from include.skillreport.messaging.reminder_names import KEYS

_SQL = Statements(Path(__file__).parent)

_SWITCH = "_ENABLED"
_INACTIVE = "テナントが稼働中でないため、契約と管理者への通知だけを送ります"


@dataclass
class SwitchedOff:
    """The channels that tenants have switched off, with the reason, and the kinds of reminders (tenant id, template key)."""

    channels: dict[Lane, str] = field(default_factory=dict)
    reminders: set[tuple[str, str]] = field(default_factory=set)

    def entries(self) -> list[dict[str, str | None]]:
        """For ``outbox.postpone_switched_off``."""
        return [
            *(
                {
                    "tenant_id": lane.tenant_id,
                    "channel": lane.channel,
                    "template_key": None,
                    "reason": reason,
                }
                for lane, reason in self.channels.items()
            ),
            *(
                {
                    "tenant_id": tenant_id,
                    "channel": None,
                    "template_key": template_key,
                    "reason": "通知設定（MST_NotificationSettings）が無効です",
                }
                for tenant_id, template_key in sorted(self.reminders)
            ),
        ]


def load_switched_off(connection: psycopg.Connection, now: datetime) -> SwitchedOff:
    """The switches of the transaction's tenants that are off at a time (aware)."""
    found = SwitchedOff()
    for row in _SQL.rows(connection, "load_switches", now=naive_utc(now)):
        key = row["setting_key"].strip()
        name, channel = key.upper(), None
        if name.endswith(_SWITCH):
            channel = notification_channel(name.removesuffix(_SWITCH))
        if channel is not None:
            found.channels[Lane(row["tenant_id"], channel)] = f"テナントの設定 NOTIFICATION/{key} が無効です"
    for tenant_id in _SQL.column(connection, "inactive_tenants", active=list(ACTIVE_STATUSES)):
        found.channels |= dict.fromkeys((Lane(tenant_id, each) for each in CHANNELS.values()), _INACTIVE)
    for tenant_id, settings in load_notification_settings(connection).items():
        found.reminders |= {
            (tenant_id, template_key) for template_key in KEYS if not destinations_for(template_key, settings)
        }
    return found


def load_notification_settings(connection: psycopg.Connection) -> dict[str, list[dict[str, Any]]]:
    """The rows of MST_NotificationSettings of the transaction's tenants, including disabled ones, by tenant."""
    settings: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _SQL.rows(connection, "load_notification_settings"):
        settings[row["tenant_id"]].append(row)
    return settings
