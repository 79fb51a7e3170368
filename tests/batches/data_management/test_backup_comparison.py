"""The tables that a backup compares by content, and the report of a restore about the others."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.__main__ import main
from include.skillreport.batches.data_backup import comparison as comparison_module
from include.skillreport.batches.data_backup.comparison import ALWAYS_BYTES, plan_comparison
from include.skillreport.batches.data_backup.files import Manifest, TableContent, differences
from include.skillreport.batches.data_backup.spool import TableSize
from tests.conftest import Database
from tests.worlds.backups import BIN, TODAY, planted

DAY = st.dates(date(2024, 1, 1), date(2040, 12, 31))
SIZES = st.lists(st.integers(0, 4 * ALWAYS_BYTES), min_size=1, max_size=30).map(
    lambda sizes: [TableSize("public", f"t{number}", size) for number, size in enumerate(sizes)]
)


@given(SIZES, st.integers(1, 100), DAY)
def test_every_table_is_compared_within_its_turn_and_small_ones_every_day(
    sizes: list[TableSize], percent: int, first: date
) -> None:
    days = -(-100 // percent)
    plans = [plan_comparison(sizes, percent, first + timedelta(days=number)) for number in range(days)]
    all_tables = {(table.schema, table.name) for table in sizes}
    small = {(table.schema, table.name) for table in sizes if table.bytes <= ALWAYS_BYTES}
    assert set().union(*(plan.tables for plan in plans)) == all_tables
    assert all(small <= plan.tables for plan in plans)
    assert plans[0] == plan_comparison(list(reversed(sizes)), percent, first)
    compared = [TableContent(schema, name, 0, "0") for schema, name in sorted(plans[0].tables)]
    assert plans[0].about(compared, sorted(all_tables))["bytes"] == sum(
        table.bytes for table in sizes if (table.schema, table.name) in plans[0].tables
    )
    if percent == 100:
        assert plans[0].tables == all_tables
    in_100_days = [
        plan_comparison(sizes, percent, first + timedelta(days=number)).tables for number in range(100)
    ]
    for name in all_tables - small:
        assert sum(name in tables for tables in in_100_days) == percent


def test_a_missing_hash_is_no_equal_hash() -> None:
    counted, hashed = TableContent("public", "t", 3, None), TableContent("public", "t", 3, "7")
    assert differences([counted], [counted]) == []
    assert differences([counted], [hashed]) == []
    assert differences([hashed], [counted]) == ["public.t の内容を比べていません"]
    assert differences([hashed], [TableContent("public", "t", 3, "8")]) == ["public.t の内容が違います"]
    assert differences([counted], [TableContent("public", "t", 4, None)]) == [
        "public.t は 3 行のはずが 4 行です"
    ]


def test_a_manifest_of_an_earlier_version_is_read() -> None:
    earlier = {
        "about": {"kind": "dump"},
        "files": [],
        "tables": [{"schema": "public", "name": "t", "rows": 3, "content_hash": "7"}],
    }
    assert Manifest.parse(json.dumps(earlier).encode(), "dump.json").tables == [
        TableContent("public", "t", 3, "7")
    ]


@pytest.mark.slow("takes and restores whole backups")
def test_each_backup_compares_the_half_of_the_tables_not_compared_before(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(comparison_module, "ALWAYS_BYTES", -1)
    backups = planted(database, tmp_path / "store")
    backups.settings = backups.settings.model_copy(update={"compare_percent": 50})

    def manifest(backup_id: str, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((backups.root / "backups" / backup_id / name).read_text())
        return content

    with caplog.at_level("INFO"):
        taken = [backups.take(TODAY - timedelta(days=1)), backups.take()]

    rows_only = [set(manifest(each, "manifest.json")["about"]["compared"]["rows_only"]) for each in taken]
    assert rows_only[0] & rows_only[1] == set()
    everything = {f"{each['schema']}.{each['name']}" for each in manifest(taken[0], "dump.json")["tables"]}
    assert rows_only[0] | rows_only[1] == everything
    for backup_id, names in zip(taken, rows_only, strict=True):
        dump = manifest(backup_id, "dump.json")
        assert {
            f"{each['schema']}.{each['name']}" for each in dump["tables"] if each["content_hash"] is None
        } == names
        compared = dump["about"]["compared"]
        assert (compared["percent"], set(compared["rows_only"])) == (50, names)
        assert 0 < compared["bytes"] < compared["total_bytes"]
        assert f"{compared['bytes']} of {compared['total_bytes']} bytes (compare_percent 50)" in caplog.text

    monkeypatch.setenv("SKILL_BATCH_BACKUP_DSN", database.dsn)
    copy = f"{database.name}_copy"
    try:
        assert main(["backup", "--store", str(backups.root), "--bin", BIN, "restore", taken[1], copy]) == 0
        total = len(manifest(taken[1], "dump.json")["tables"])
        said = f"{total} 表の行数と、うち {total - len(rows_only[1])} 表の内容が取得時と一致"
        assert said in capsys.readouterr().out
    finally:
        backups.server.drop(copy)
