"""The changelog describes the version that wheel, run log and board show."""

from __future__ import annotations

import re
from datetime import date

from include.skillreport.core.version import VERSION
from tests.airflow_installation import PROJECT

RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", flags=re.MULTILINE)


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    releases = RELEASE.findall((PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert releases
    assert releases[0][0] == VERSION
    days = [date.fromisoformat(day) for _, day in releases]
    assert days == sorted(days, reverse=True)
