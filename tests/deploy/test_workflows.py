"""The workflows of GitHub run what the Makefile has, and a check that did not run is not green."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from local_stack.bootstrap import supported_versions
from tests.airflow_installation import PROJECT
from tests.needs import need
from tests.packaging.matrix import CELLS, Cell, NothingNewerError, reported

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text()) for path in (PROJECT / ".github/workflows").glob("*.yml")
}
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE))


def _targets_of(workflow: str) -> set[str]:
    jobs = WORKFLOWS[workflow]["jobs"].values()
    commands = [step.get("run", "") for job in jobs for step in job["steps"]]
    named = {name for command in commands for name in re.findall(r"^make ((?:[a-z][a-z-]* ?)+)", command)}
    entries = [
        entry for job in jobs for entry in job.get("strategy", {}).get("matrix", {}).get("include", [])
    ]
    return {name for names in named for name in names.split()} | {
        entry["target"] for entry in entries if "target" in entry
    }


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS))
def test_workflows_name_targets_of_the_makefile(workflow: str) -> None:
    assert _targets_of(workflow) <= TARGETS


def test_the_weekly_workflow_runs_every_long_target() -> None:
    in_ci = {"test-rules", "test-all", "test-durations"}
    long = {target for target in TARGETS if target.startswith("test-")} - in_ci
    assert long | {"chaos", "bench", "audit", "constraints", "matrix"} <= _targets_of("weekly")


def test_the_workflows_run_on_every_supported_python() -> None:
    jobs, weekly = (WORKFLOWS[name]["jobs"] for name in ("ci", "weekly"))
    (_, first), (_, end) = supported_versions(str(PROJECT / "pyproject.toml"))
    supported = [f"3.{minor}" for minor in range(first, end)]
    checks = jobs["checks"]
    assert checks["strategy"]["matrix"]["python"] == supported
    # The runner's own Python may be newer than that of the job.
    (run,) = [step for step in checks["steps"] if "run" in step]
    assert (run["run"], run["env"]) == ("bash .ci/run", {"PYTHON": "python${{ matrix.python }}"})
    cells = weekly["versions"]["strategy"]["matrix"]["include"]
    assert {cell["cell"] for cell in cells} <= {cell.name for cell in CELLS}
    assert {cell["python"] for cell in cells if cell["cell"].startswith("python")} == set(supported)
    assert weekly["constraints"]["strategy"]["matrix"]["python"] == supported


def test_a_release_needs_the_tag_of_the_version_and_is_signed() -> None:
    build, publish = (WORKFLOWS["release"]["jobs"][job] for job in ("build", "publish"))
    (check,) = [step for step in build["steps"] if "TAG" in step.get("env", {})]
    assert check["run"] == 'test -f .local/dist/skill_report_batches-"${TAG#v}"-py3-none-any.whl'
    (signed,) = [step for step in publish["steps"] if "attest" in step.get("uses", "")]
    assert signed["with"] == {"subject-path": "dist/*"}
    assert publish["permissions"]["attestations"] == publish["permissions"]["id-token"] == "write"


def test_the_pull_request_of_locks_takes_only_locks(tmp_path: Path) -> None:
    (run,) = [step["run"] for step in WORKFLOWS["update-locks"]["jobs"]["propose"]["steps"] if "run" in step]
    (command,) = re.findall("git apply .*", run)
    git, names = ["git", "-C", str(tmp_path)], ("requirements.lock", "deploy/requirements.lock", "Makefile")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old\n")
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    for name in names:
        (tmp_path / name).write_text("new\n")
    patch = subprocess.run([*git, "diff"], check=True, capture_output=True).stdout
    subprocess.run([*git, "checkout", "--quiet", "."], check=True)
    (tmp_path / "locks.patch").write_bytes(patch)

    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)

    contents = {name: (tmp_path / name).read_text() for name in names}
    assert contents == {
        "requirements.lock": "new\n",
        "deploy/requirements.lock": "new\n",
        "Makefile": "old\n",
    }


class _WithoutSuccessor(Cell):
    def run(self, _log: Path) -> bool:
        raise NothingNewerError("no newer version")


@pytest.mark.parametrize(("is_named", "passes"), [(True, False), (False, True)])
def test_a_named_cell_of_a_missing_python_fails(
    is_named: bool, passes: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell("python3.9", "3.9.999", "lock")
    assert reported(cell, tmp_path, is_named=is_named) is passes
    assert "Python 3.9.999 is not installed" in capsys.readouterr().out
    assert reported(_WithoutSuccessor("next", "3.12", "next"), tmp_path, is_named=is_named)


def test_a_missing_program_skips_a_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    need("/usr/bin/found", "install it")
    with pytest.raises(pytest.skip.Exception, match="install it"):
        need(None, "install it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install it"):
        need(None, "install it")
