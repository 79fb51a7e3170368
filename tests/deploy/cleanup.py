"""The commands of docs/install/airflow.md that keep Airflow's database small."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta

from local_stack.stack import PROJECT

PAGE = PROJECT / "docs" / "install" / "airflow.md"


def cleanup_commands() -> list[list[str]]:
    """The arguments of ``airflow`` as the page has them, with the date that the shell computes."""
    commands = re.findall(
        r"^airflow (db clean (?:.*\\\n)*.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    (days,) = {
        days for command in commands for days in re.findall(r"\$\(date -u -d '-(\d+) days' \+%F\)", command)
    }
    before = datetime.now(UTC) - timedelta(days=int(days))
    return [
        shlex.split(re.sub(r"\$\(.*?\)", f"{before:%F}", command.replace("\\\n", " ")))
        for command in commands
    ]
