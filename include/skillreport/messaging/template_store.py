"""A tenant's templates: its own (MST_NotificationTemplate) in its language, otherwise in Japanese, otherwise the built-in ones.

A template with the application's key (``reminder_names.KEYS``) is used for a reminder if the tenant has none with the batches' key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.core.yaml_files import load_yaml
from include.skillreport.messaging.channels import EMAIL, notification_channel
from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.reminder_names import KEYS
from include.skillreport.messaging.templates import Template

_SQL = Statements(Path(__file__).parent)

_DEFAULTS_FILE = Path(__file__).with_name("default_templates.yaml")


def load_templates(
    connection: psycopg.Connection,
    keys: Sequence[str],
    languages: Mapping[str, str],
    channel: Channel = EMAIL,
) -> dict[str, dict[str, Template]]:
    """The templates of the transaction's tenants for a channel, by tenant and key, in each tenant's language (``ja``, ``en``)."""
    chosen = {
        tenant_id: {key: default_template(key, language, channel) for key in keys}
        for tenant_id, language in languages.items()
    }
    ours = {name: key for key in keys for name in KEYS.get(key, [key])}
    # A later row overwrites an earlier one: the batches' key has precedence, then the tenant's language.
    precedence = list(ours)
    rows = sorted(
        _SQL.rows(connection, "load_templates", template_keys=precedence),
        key=lambda row: (
            precedence.index(row["template_key"]),
            row["language"] == languages.get(row["tenant_id"]),
        ),
    )
    for row in rows:
        is_readable = row["language"] in ("ja", languages.get(row["tenant_id"]))
        if is_readable and notification_channel(row["notification_type"]) == channel:
            chosen[row["tenant_id"]][ours[row["template_key"]]] = Template.of_row(row, channel)
    return chosen


def default_template(key: str, language: str, channel: Channel = EMAIL) -> Template:
    """The built-in template of a reminder or a notice."""
    text = _defaults()[key][language]
    return Template(key, channel, language, text["subject"], text["body"])


@cache
def _defaults() -> dict[str, dict[str, dict[str, str]]]:
    defaults: dict[str, dict[str, dict[str, str]]] = load_yaml(_DEFAULTS_FILE)
    return defaults
