"""The changelog describes the version that wheel, run log and board show."""

from __future__ import annotations

import re
from datetime import date

from include.skillreport.core.version import VERSION
from tests.airflow_installation import PROJECT

VERSIONS = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (Unreleased|\d{4}-\d{2}-\d{2})$", flags=re.MULTILINE)


def test_the_newest_version_of_the_changelog_is_that_of_the_code() -> None:
    versions = VERSIONS.findall((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert versions
    assert versions[0][0] == VERSION
    days = [date.max if day == "Unreleased" else date.fromisoformat(day) for _, day in versions]
    assert days == sorted(days, reverse=True)
    assert date.max not in days[1:]
