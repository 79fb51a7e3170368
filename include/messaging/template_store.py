"""Where templates come from: the tenant's own (MST_NotificationTemplate) in its language, else in Japanese, else the built-in ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from include.database import read_sql
from include.messaging.outcome import Channel
from include.messaging.templates import Template
from include.settings import load_yaml

_HERE = Path(__file__).parent

_DEFAULTS_FILE = _HERE / "default_templates.yaml"


def load_templates(
    connection: psycopg.Connection, keys: Sequence[str], languages: Mapping[str, str]
) -> dict[str, dict[str, Template]]:
    """The e-mail templates of the transaction's tenants, by tenant and key, in each tenant's language (``ja``, ``en``)."""
    chosen = {
        tenant_id: {key: default_template(key, language) for key in keys}
        for tenant_id, language in languages.items()
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        own = cursor.execute(read_sql(_HERE, "load_templates"), {"template_keys": list(keys)}).fetchall()
    # The later one wins: Japanese over the built-in, the tenant's language over Japanese.
    for row in sorted(own, key=lambda row: row["language"] == languages.get(row["tenant_id"])):
        wanted = languages.get(row["tenant_id"])
        if row["language"] in ("ja", wanted):
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
