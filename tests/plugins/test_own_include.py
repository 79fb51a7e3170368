"""What Python finds as ``include`` decides whether the DAG files can be imported, and what their import error says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow_installation import PROJECT


@pytest.mark.parametrize("comes_first", [True, False])
@pytest.mark.parametrize("is_package", [True, False])
def test_another_include_hides_ours_only_if_it_is_a_package(
    tmp_path: Path, is_package: bool, comes_first: bool
) -> None:
    (tmp_path / "include" / "other_team").mkdir(parents=True)
    hiding = tmp_path / "include" / "__init__.py"
    if is_package:
        hiding.touch()
    path = [tmp_path, PROJECT]
    error = error_with(*(path if comes_first else reversed(path)))
    assert error == (
        f"{hiding} があるため、Python は include/skillreport を見つけられません。このファイルを消してください"
        "（中身があれば、そのチームのフォルダーの中に移してください。include は複数のチームが共有する名前空間です）。"
        if is_package
        else ""
    )


def test_an_include_that_is_missing_is_said_as_such(tmp_path: Path) -> None:
    assert error_with(tmp_path).startswith("include/skillreport が見つかりません。")


def error_with(*path: Path) -> str:
    """The message of the import error of a process with these folders on its path; empty if there is none."""
    done = subprocess.run(
        [sys.executable, "-c", "import skill_batch.own_include"],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(map(str, [*path, PROJECT / "plugins"])), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == bool(lines)
    return lines[-1].removeprefix("skill_batch.own_include.HiddenPackageError: ") if lines else ""
