"""The extra of an Airflow connection, which people and secrets managers write by hand.

The triggerer imports this module, on some platforms without ``include``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Connection


class ExtraError(LookupError):
    """The extra is no JSON object. The message names the connection, and says what to do."""


def extra_of(connection: Connection) -> dict[str, Any]:
    """The values of the extra. :raises ExtraError: it is no JSON object; without this check its settings would be ignored in silence."""
    extra = connection.extra_dejson
    is_empty = (connection.extra or "").strip() in ("", "{}")
    # Airflow reads a text that is no JSON as {}. An extra that was encoded twice is a text again.
    if not isinstance(extra, dict) or not (extra or is_empty):
        raise ExtraError(
            f"Airflow の接続 '{connection.conn_id}' の Extra は、JSON のオブジェクト（{{\"名前\": 値}}）にしてください。"
        )
    return extra
