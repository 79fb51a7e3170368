"""The number of mapped instances at a time comes from the deployment, and a wrong one is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from include.skillreport.core.worker_slots import SLOTS_VARIABLE


def concurrency(text: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != SLOTS_VARIABLE}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from include.skillreport.core.worker_slots import CONCURRENCY; print(CONCURRENCY)",
        ],
        env=environment if text is None else environment | {SLOTS_VARIABLE: text},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("text", "number"), [(None, "5"), ("", "5"), ("1", "1"), ("40", "40")])
def test_the_deployment_says_how_many_instances_work_at_a_time(text: str | None, number: str) -> None:
    assert concurrency(text).stdout.strip() == number


@pytest.mark.parametrize("text", ["0", "-1", "1001", "five", "2.5", "٣"])
def test_a_wrong_number_is_refused_by_name(text: str) -> None:
    result = concurrency(text)
    assert result.returncode == 1
    assert f"{SLOTS_VARIABLE} must be a number from 1 to 1000" in result.stderr
