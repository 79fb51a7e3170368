"""Stores personal values of a dialog. Every viewer of Airflow can read a run's conf, so the conf has only a token."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from skill_batch.board.actions import Action
from skill_batch.board.choosing import tenant_ids_of
from skill_batch.board.database import BoardDatabase
from skill_batch.board.statements import SQL as _SQL
from include.skillreport.billing.actions.correct import Correct
from include.skillreport.billing.actions.entered import IN_CONF
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.core.form import ENTRY
from include.skillreport.operations.operate_contracts.form import SetProfile


def keep_entered(
    database: BoardDatabase, action: Action, conf: Mapping[str, Any], person: str
) -> dict[str, Any]:
    """Store the checked values of ``conf`` for the user's run. Returns the conf with a token in their place.

    :raises BoardUnavailableError: the database cannot be written.
    """
    token = secrets.token_urlsafe(32)
    values = {name: value for name, value in conf.items() if name not in IN_CONF}
    with database.write() as connection:
        _SQL.execute(
            connection,
            "enter_values",
            token=token,
            dag_id=action.spec.dag_id,
            operation=action.name,
            form_values=Jsonb(values),
            person=person,
        )
    return {name: conf[name] for name in IN_CONF if name in conf} | {ENTRY: token}


def valid_today(action: Action, invoice: Invoice | None) -> dict[str, str]:
    """The invoice's present value of each field that corrects it, because an empty field changes nothing."""
    if action.operation is not Correct or invoice is None:
        return {}
    recipient = invoice.recipient
    values = {
        "recipient_name": recipient.name,
        "recipient_department": recipient.department,
        "recipient_postal_code": recipient.postal_code,
        "recipient_address": recipient.address,
        "note": invoice.note,
        "due_on": invoice.due_on,
    }
    return {name: str(value or "—") for name, value in values.items()}


def present_values(
    connection: psycopg.Connection[Any], action: Action, given: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The dialog's initial values: ``given`` values that a conf may have and, if the action replaces a profile, the present profile."""
    values = {name: list(given[name]) for name in IN_CONF if name in given}
    if action.operation is not SetProfile:
        return values
    tenant_ids = tenant_ids_of(connection, values["tenants"])
    if len(tenant_ids) != 1:
        return values
    for row in _SQL.rows(connection, "contract_profile", tenant_id=tenant_ids[0]):
        for name, value in (row["profile"] or {}).items():
            values[name] = value if isinstance(value, list) else [] if value is None else [str(value)]
    return values
