"""The rows that an action will work on, as the dialog shows them, in their present state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import psycopg

from skill_batch.board.actions import Action, unknown_tenants
from skill_batch.board.choosing import choices, tenant_ids_of
from skill_batch.board.message_words import ALL_STATES, channel_labels
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.database import has_control_characters
from include.skillreport.core.entered import plain
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.operation_catalog import (
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
)
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS
from include.skillreport.operations.operate_invoices.form import Approve, DropCredit
from include.skillreport.operations.operate_notifications.form import Resume, Stop

Kind = Literal["messages", "invoices", "tenants", "channels", "waiting"]

# These decide about all credit notes of the month's invoice that wait.
_ABOUT_WAITING_CREDITS = (Approve, DropCredit)

# A dialog shows this many lines.
MOST = 50


@dataclass(frozen=True)
class Targets:
    """The rows that the values of a dialog select. ``rows`` are the first of ``total`` rows; ``kind`` says which columns they have."""

    kind: Kind
    rows: Sequence[Mapping[str, Any]]
    total: int

    @property
    def further(self) -> int:
        """The number of rows that are not in ``rows``."""
        return self.total - len(self.rows)


def describe_targets(
    connection: psycopg.Connection[Any], action: Action, values: Mapping[str, Sequence[str]], today: date
) -> Targets | None:
    """The messages, invoices or channels that the values select; None for other actions. ``today`` is in Asia/Tokyo."""
    messages = _lines(values, "messages")
    if messages:
        return _targets("messages", _SQL.rows(connection, "described_messages", message_ids=messages))
    names = _lines(values, "tenants")
    tenant_ids = tenant_ids_of(connection, names)
    if action.spec is OPERATE_INVOICES:
        # The application may have deleted the tenant. Its invoices still have its id.
        tenant_ids += unknown_tenants(connection, names)
    if not tenant_ids:
        return None
    if action.spec is OPERATE_NOTIFICATIONS and action.name == "reopen":
        return _targets("channels", _SQL.rows(connection, "described_channels", tenant_ids=tenant_ids))
    if action.operation in (Stop, Resume):
        about = {"tenant_ids": tenant_ids, "contract_letters": list(CONTRACT_LETTERS)}
        return _targets("waiting", _SQL.rows(connection, "described_waiting", **about))
    if action.spec is not OPERATE_INVOICES:
        return None
    if list(values.get("every_month", ()))[-1:] == ["on"]:
        return _targets("tenants", _SQL.rows(connection, "described_tenants", tenant_ids=tenant_ids))
    period_start = _month(values.get("business_date", ()), today)
    return _targets(
        "invoices",
        _SQL.rows(
            connection,
            "described_invoices",
            tenant_ids=tenant_ids,
            period_start=period_start,
            with_waiting_credits=action.operation in _ABOUT_WAITING_CREDITS,
        ),
    )


def tenants_of_messages(connection: psycopg.Connection[Any], message_ids: Sequence[str]) -> list[str]:
    """The value of a form's field "tenants" that selects exactly the tenants that have these messages.

    :raises ParameterError: the operation cannot work on one of these tenants.
    """
    rows = _SQL.rows(connection, "described_messages", message_ids=list(message_ids))
    codes = {str(row["tenant_id"]): str(row["tenant_code"]) for row in rows}
    found = choices(connection, list(codes))
    for tenant_id, choice in found.items():
        if choice.refusal:
            raise ParameterError(
                f"テナント {codes[tenant_id]}: {choice.refusal}。このテナントの通知を選択から外してください。"
            )
    return sorted(str(choice.chosen_as) for choice in found.values())


def _targets(kind: Kind, rows: Sequence[Mapping[str, Any]]) -> Targets:
    return Targets(kind, [_in_words(row) for row in rows[:MOST]], len(rows))


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with ``status_name`` and ``channel_name`` as words; the dialog translates them."""
    return {
        **row,
        "status_name": ALL_STATES.get(row.get("status", ""), row.get("status")),
        "channel_name": channel_labels().get(row.get("channel", ""), row.get("channel")),
    }


def _lines(values: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The lines of a field that the database can contain."""
    lines = [line.strip() for text in values.get(name, ()) for line in text.splitlines()]
    return [line for line in lines if line and not has_control_characters(line)]


def _month(given: Sequence[str], today: date) -> date:
    """The first day of the month in the form, or of the previous month. The operation has the same rule."""
    try:
        return date.fromisoformat(plain(given[-1])).replace(day=1)
    except (IndexError, ValueError):
        return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
