"""Log files of Airflow, some days old on Sunday, 22 November 2026."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from pathlib import Path

from include.skillreport.core.execution.business_date import JAPAN

SUNDAY = date(2026, 11, 22)


def log_file(root: Path, name: str, days: int, content: str = "line\n" * 500) -> Path:
    """A log file last written this many days before the Sunday, at noon in Japan."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    written = datetime.combine(SUNDAY - timedelta(days=days), datetime.min.time(), JAPAN) + timedelta(
        hours=12
    )
    os.utime(path, (written.timestamp(), written.timestamp()))
    return path
