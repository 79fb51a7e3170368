"""Fields of Airflow's forms."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from include.skillreport.core.form_fields import Field, Lines

_TEXT = {"type": ["null", "string"]}  # The form sends null for an empty field.

_SCHEMAS: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "date": {**_TEXT, "format": "date"},
    # Airflow's form has no input for a month.
    "month": {**_TEXT, "format": "date"},
    "choice": _TEXT,
    "lines": {"type": ["null", "array"], "items": {"type": "string"}},
    "flag": {"type": "boolean"},
}
_EMPTY: dict[str, Any] = {"lines": [], "flag": False}


def field_param(field: Field, section: str | None = None, description: str = "") -> Param:
    """The field, with an optional heading and an optional replacement of its help."""
    schema = _SCHEMAS[field.input]
    if field.choices:
        schema = {**schema, "enum": [None, *field.choices], "values_display": dict(field.choices)}
    heading: dict[str, Any] = {"section": section} if section else {}
    return Param(
        _EMPTY.get(field.input),
        **schema,
        title=field.title,
        description=description or field.description,
        **heading,
    )


def tenants_param(description: str) -> Param:
    """The field for tenant codes."""
    return field_param(Lines("テナントコード", description))


def request_param() -> Param:
    """The field that names a request. A batch fills it in."""
    return field_param(
        Field(
            "承認依頼のID",
            "バッチが承認依頼を出すときに使います。人が実行するときは空欄のままにしてください。今保留中のものを確認します。",
        )
    )
