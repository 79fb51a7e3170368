"""The README says what the code does: the batch table follows the registry, and the commands exist."""

from __future__ import annotations

import re

from include.catalog import BATCHES
from tests.airflow_installation import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def test_the_batch_table_is_the_registry() -> None:
    rows = re.findall(r"^\| (BATCH-\S+) \| (\S+) \| `(.+?)` \| `(\w+)` \|", README, flags=re.MULTILINE)
    assert rows == [
        (spec.id, spec.name, spec.cron, spec.dag_id)
        for spec in BATCHES
        if spec.id in {batch_id for batch_id, *_ in rows}
    ]
    assert len(rows) >= 14


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"(?:^|[`(])make (?:-s )?([a-z][a-z-]+)", README, flags=re.MULTILINE))
    assert {"demo", "test", "up", "env"} <= named
    targets = set(" ".join(re.findall(r"^([a-z][a-z -]*):", MAKEFILE, flags=re.MULTILINE)).split())
    assert named - targets == set()


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"`((?:include|local_stack|tests|dags|plugins)/[\w./]*\w\.\w+)`", README)
    assert named
    assert [path for path in named if not (PROJECT / path).exists()] == []
