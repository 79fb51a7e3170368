"""The table ``batch.channel``: the code's channels, for foreign keys and views."""

from __future__ import annotations

import psycopg

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.schema.checks.findings import Finding, remark
from include.skillreport.schema.revisions import UPGRADE_HINT


def record_channels(connection: psycopg.Connection) -> None:
    """Write the code's channels, as ``batch_owner``. A removed channel may have messages, so it only loses its spellings."""
    connection.execute(
        "UPDATE batch.channel SET spellings = '{}' WHERE channel <> ALL (%s)", [list(CHANNELS)]
    )
    connection.cursor().executemany(
        "INSERT INTO batch.channel VALUES (%s, %s) ON CONFLICT (channel) DO UPDATE SET spellings = excluded.spellings",
        [(name, list(channel.spellings)) for name, channel in CHANNELS.items()],
    )


def find_other_channels(connection: psycopg.Connection) -> Finding | None:
    """A finding if the table's channels or spellings differ from the code's."""
    rows = connection.execute("SELECT channel, spellings FROM batch.channel").fetchall()
    recorded: dict[str, list[str]] = dict(rows)
    removed: dict[str, list[str]] = {name: [] for name in recorded}
    if recorded == removed | {name: list(channel.spellings) for name, channel in CHANNELS.items()}:
        return None
    problem = "表 batch.channel の送信チャネルが、このコードのものと違います。"
    return remark("outdated", problem, f"{UPGRADE_HINT}。", "batch.channel")
