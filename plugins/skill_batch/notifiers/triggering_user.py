"""The user who triggered a dry run or an operation. This user gets its alerts instead of the operators.

Airflow's user name is untrusted: some auth managers let users choose it. It is shown as plain text. It selects an e-mail address only
through the extra of ``skill_batch_alert_email``: ``people`` maps names to addresses, and ``people_domains`` lists domains in which the
name may be the address.

The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skill_batch.extras import ExtraError, extra_of
from skill_batch.notifiers.alert import Alert, shorten

if TYPE_CHECKING:
    from airflow.sdk import Connection

log = logging.getLogger(__name__)

_SEVERITY = "MEDIUM"

# Airflow's user names have up to 512 characters.
_LONGEST_SHOWN_NAME = 80

# Stricter than RFC 5321: one ASCII address without quotes, comments and the obsolete routing characters (% and !).
_ADDRESS = re.compile(r"[A-Za-z0-9_][\w+-]*(\.[\w+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)
_LONGEST_ADDRESS = 254


@dataclass(frozen=True)
class TriggeringUser:
    """Airflow's name of the user, and True for a dry run (otherwise it is an operation)."""

    name: str
    is_dry_run: bool


def triggering_user(name: str | None, *, is_dry_run: bool, is_operation: bool) -> TriggeringUser | None:
    """The user who gets the alerts of a run; None: the operators.

    The operators get the alerts of scheduled and real runs of a batch, and of runs without a known user.
    """
    if not name or not name.strip() or not (is_dry_run or is_operation):
        return None
    return TriggeringUser(name, is_dry_run)


def is_dry_run(conf: Mapping[str, Any] | None) -> bool:
    """True if the run's form (Airflow's ``conf``) requests a dry run."""
    return (conf or {}).get("dry_run") is True


def severity_for(user: TriggeringUser | None, severity: str) -> str:
    """The severity of an alert: MEDIUM for a user, otherwise the batch's."""
    return severity if user is None else _SEVERITY


def address_to(user: TriggeringUser | None, alert: Alert) -> Alert:
    """The alert for this user, with a line that names the user; the same alert if it is for the operators."""
    if user is None:
        return alert
    kind = "ドライラン" if user.is_dry_run else "操作"
    lines = (*alert.lines, f"実行した人: {_shown(user.name)}（{kind}）")
    return replace(alert, lines=lines, severity=_SEVERITY, triggering_user=user.name)


def mail_address_of(name: str, connection: Connection | None) -> str | None:
    """The e-mail address of an Airflow user, from the extra of ``skill_batch_alert_email``; None if it is unknown."""
    if connection is None:
        return None
    try:
        extra = extra_of(connection)
    except ExtraError as error:
        log.error("No mail address of a person is known: %s", error)
        return None
    people = extra.get("people")
    if isinstance(people, dict) and name in people:
        address = people[name]
        if _is_address(address):
            return str(address)
        log.warning("The extra `people` of '%s' has no mail address for %r", connection.conn_id, name)
        return None
    if _is_address(name) and name.rpartition("@")[2].lower() in _domains(extra.get("people_domains")):
        return name
    return None


def _is_address(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(value) is not None


def _domains(value: object) -> set[str]:
    domains = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return {str(domain).strip().lower() for domain in domains}


def _shown(name: str) -> str:
    return shorten("".join(letter if letter.isprintable() else " " for letter in name), _LONGEST_SHOWN_NAME)
