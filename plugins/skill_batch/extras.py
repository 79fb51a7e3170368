"""The extra of an Airflow connection, which users and secrets managers write.

The triggerer imports this module, sometimes without ``include``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Connection


class ExtraError(LookupError):
    """The extra is no JSON object. The message names the connection and the fix."""


def extra_of(connection: Connection) -> dict[str, Any]:
    """The values of the extra. :raises ExtraError: it is no JSON object. Without this check its settings would be ignored silently."""
    extra = connection.extra_dejson
    is_empty = (connection.extra or "").strip() in ("", "{}")
    # Airflow reads invalid JSON as {}. An extra that was encoded twice becomes a string.
    if not isinstance(extra, dict) or not (extra or is_empty):
        raise ExtraError(
            f"Airflow の接続 '{connection.conn_id}' の Extra は、JSON のオブジェクト（{{\"名前\": 値}}）にしてください。"
        )
    return extra
