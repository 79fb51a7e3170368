"""The tables that a backup compares by content. Rows are counted in every table; a content hash reads and formats every value.

``backup.compare_percent`` is the percentage of days on which a large table is compared. Small tables are compared every day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from include.skillreport.batches.data_backup.files import Manifest, TableContent
from include.skillreport.batches.data_backup.spool import TableSize

# Tables up to this size (bytes, with TOAST, without indexes) are compared in every backup.
ALWAYS_BYTES = 64 << 20


@dataclass(frozen=True)
class Comparison:
    """The tables whose contents one backup compares, by schema and name, and the bytes of all tables."""

    percent: int
    tables: frozenset[tuple[str, str]]
    sizes: Mapping[tuple[str, str], int]

    def about(self, contents: Sequence[TableContent], tables: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The manifest's figures of the comparison, the tables with only counted rows, and the tables without a content.

        ``tables`` are all tables of the dump, by schema and name.
        """
        known = {(each.schema, each.name) for each in contents}
        return {
            "percent": self.percent,
            "bytes": sum(self.sizes.get(name, 0) for name in hashed_tables(contents)),
            "total_bytes": sum(self.sizes.values()),
            "rows_only": [f"{each.schema}.{each.name}" for each in contents if each.content_hash is None],
            "unverified": [f"{schema}.{name}" for schema, name in tables if (schema, name) not in known],
        }


def plan_comparison(sizes: Sequence[TableSize], percent: int, day: date) -> Comparison:
    """Choose the tables of this business date (Asia/Tokyo).

    The choice depends on the date and on the order of the large tables by name. While these tables stay the same, each is compared once
    within 100 / ``percent`` days (rounded up), and about ``percent`` of them on one day.
    """
    large = sorted(
        (table for table in sizes if table.bytes > ALWAYS_BYTES), key=lambda table: (table.schema, table.name)
    )
    waiting = {
        (table.schema, table.name)
        for number, table in enumerate(large)
        if (day.toordinal() + number) * percent % 100 >= percent
    }
    by_name = {(table.schema, table.name): table.bytes for table in sizes}
    return Comparison(percent, frozenset(by_name.keys() - waiting), by_name)


def hashed_tables(contents: Sequence[TableContent]) -> set[tuple[str, str]]:
    """The tables with a content hash in a manifest, by schema and name."""
    return {(each.schema, each.name) for each in contents if each.content_hash is not None}


def comparison_sentence(manifest: Manifest) -> str:
    """A sentence for operators about the comparison after a restore."""
    contents = manifest.tables
    hashed = len(hashed_tables(contents))
    unverified = manifest.about.get("compared", {}).get("unverified", [])
    others = f"。照合していない表: {'、'.join(unverified)}" if unverified else ""
    if hashed == len(contents):
        return f"{len(contents)} 表、取得時と一致{others}"
    return f"{len(contents)} 表の行数と、うち {hashed} 表の内容が取得時と一致{others}"


def tenant_of_the_day(tenant_ids: Sequence[str], day: date) -> str | None:
    """The tenant whose export is restored on this day, in turn; None without tenants."""
    return tenant_ids[day.toordinal() % len(tenant_ids)] if tenant_ids else None
