"""The templates of a tenant: its own (MST_NotificationTemplate) in its language, or else in Japanese, or else the built-in template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psycopg

from include.database import Statements
from include.messaging.outcome import Channel
from include.messaging.templates import Template
from include.settings import load_yaml

_SQL = Statements(Path(__file__).parent)

_DEFAULTS_FILE = Path(__file__).with_name("default_templates.yaml")


def load_templates(
    connection: psycopg.Connection, keys: Sequence[str], languages: Mapping[str, str]
) -> dict[str, dict[str, Template]]:
    """The e-mail templates of the transaction's tenants, by tenant and key, in each tenant's language (``ja``, ``en``)."""
    chosen = {
        tenant_id: {key: default_template(key, language) for key in keys}
        for tenant_id, language in languages.items()
    }
    rows = _SQL.rows(connection, "load_templates", template_keys=list(keys))
    # A later row overwrites an earlier one, so rows in the tenant's language come last.
    for row in sorted(rows, key=lambda row: row["language"] == languages.get(row["tenant_id"])):
        if row["language"] in ("ja", languages.get(row["tenant_id"])):
            chosen[row["tenant_id"]][row["template_key"]] = Template(
                row["template_key"],
                Channel.EMAIL,
                row["language"],
                row["subject"],
                row["body"],
                row["is_html"],
            )
    return chosen


def default_template(key: str, language: str) -> Template:
    """The built-in template of a reminder or a notice."""
    text = _defaults()[key][language]
    return Template(key, Channel.EMAIL, language, text["subject"], text["body"])


@cache
def _defaults() -> dict[str, dict[str, dict[str, str]]]:
    defaults: dict[str, dict[str, dict[str, str]]] = load_yaml(_DEFAULTS_FILE.read_text(encoding="utf-8"))
    return defaults
