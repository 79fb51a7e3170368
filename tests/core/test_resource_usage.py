"""The figures of a process: its own memory, and on no system more than that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from include.skillreport.core.execution import resource_usage
from include.skillreport.core.execution.resource_usage import peak_memory_bytes
from tests.airflow_installation import PROJECT

MIB = 1 << 20


def test_the_memory_of_the_process_that_started_it_does_not_count() -> None:
    held = bytearray(300 * MIB)
    code = f"from {resource_usage.__name__} import peak_memory_bytes; print(peak_memory_bytes())"

    started = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True
    )

    assert 5 * MIB < int(started.stdout) < len(held) < peak_memory_bytes()


@pytest.mark.parametrize("content", [None, "Name:\tpython\nVmRSS:\t  100 kB\n"])
def test_a_system_without_the_kernel_s_answer_asks_getrusage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    status = tmp_path / "status"
    if content is not None:
        status.write_text(content)
    monkeypatch.setattr(resource_usage, "_STATUS", status)

    assert peak_memory_bytes() > 20 * MIB
