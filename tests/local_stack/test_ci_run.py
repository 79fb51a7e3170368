"""``.ci/run`` takes the newest supported interpreter that can make the environment, and runs everything on it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_stack.bootstrap import STAMP
from tests.airflow_installation import PROJECT
from tests.local_stack.checkout import Checkout
from tests.waiting import LIMIT_SECONDS

TOOLS = ("bash", "cat", "cp", "diff", "dirname", "env", "make", "mkdir", "rm", "sed")
# Versions that no machine has: `.ci/run` also looks into /usr/bin.
OLDEST, MIDDLE, NEWEST = (3, 77, 0), (3, 78, 0), (3, 79, 0)


@dataclass
class CiCheckout(Checkout):
    """A checkout with all that ``.ci/run`` needs, which supports the versions 3.77 to 3.79."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (".ci/run", "deploy/requirements.lock", *(path.name for path in PROJECT.glob("*.lock"))):
            (self.project / name).parent.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, self.project / name)
        pyproject = self.project / "pyproject.toml"
        pyproject.write_text(
            pyproject.read_text(encoding="utf-8").replace(">=3.11,<3.15", ">=3.77,<3.80"), encoding="utf-8"
        )
        self.shims = self.project.parent / "shims"
        self.tools = self.project.parent / "tools"
        self.shims.mkdir()
        self.tools.mkdir()
        for tool in TOOLS:
            (self.tools / tool).symlink_to(shutil.which(tool) or "/missing")

    def has(self, version: tuple[int, ...], name: str = "", **details: object) -> None:
        """Put an interpreter on the PATH, under the name of its version. ``details`` as of ``has_python``."""
        self.has_python(name or f"python3.{version[1]}", version=(*version, "final", 0), **details)  # type: ignore[arg-type]

    def has_dead(self, name: str) -> None:
        """Put a program of this name in front of all others that runs no Python, as pyenv's does without a version."""
        program = self.shims / name
        program.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
        program.chmod(0o755)

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """``.ci/run``, with no program on the PATH but the stand-ins and what it needs."""
        return subprocess.run(
            [self.project / ".ci/run"],
            env={"PATH": f"{self.shims}:{self.path}:{self.tools}"} | variables,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    @property
    def ends_after_the_choice(self) -> CiCheckout:
        """The same without what follows the choice of the interpreter."""
        script = self.project / ".ci/run"
        script.write_text(script.read_text(encoding="utf-8").partition("make -j2 lint")[0], encoding="utf-8")
        return self


@pytest.fixture
def checkout(tmp_path: Path) -> CiCheckout:
    return CiCheckout(tmp_path / "project")


def test_everything_runs_on_the_newest_interpreter_that_can_make_the_environment(
    checkout: CiCheckout,
) -> None:
    checkout.has((3, 12, 1), "python3")
    checkout.has(OLDEST)
    checkout.has(MIDDLE)
    checkout.has(NEWEST, missing=("ensurepip",))

    done = checkout.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "python3.79 cannot make the environment: .ci/run passes it over\n" in done.stderr
    assert f"» .venv has Python 3.78.0 {checkout.path}/python3.78\n" in done.stdout
    programs = {line.split()[0] for line in checkout.calls}
    assert {f".venv/bin/{name}" for name in ("ruff", "mypy", "sqlfluff", "lychee")} <= programs
    tests = [line for line in checkout.calls if " -m pytest " in line]
    assert sorted(line.split(" -m ")[2].split()[0] for line in tests) == ["long", "not"]


def test_an_unusable_interpreter_is_skipped_with_a_message(
    checkout: CiCheckout,
) -> None:
    checkout.has_dead("python3.79")
    checkout.has(MIDDLE, then="exit 3")
    checkout.has(OLDEST)

    done = checkout.ends_after_the_choice.run()

    assert done.returncode == 0, done.stderr
    assert f"» .venv has Python 3.77.0 {checkout.path}/python3.77\n" in done.stdout
    assert done.stderr.count("passes it over") == 2


def test_the_system_s_interpreter_is_found_behind_a_dead_name(checkout: CiCheckout) -> None:
    checkout.has_dead("python3.79")
    checkout.has(NEWEST)

    done = checkout.ends_after_the_choice.run()

    assert done.returncode == 0, done.stderr
    assert f"» .venv has Python 3.79.0 {checkout.path}/python3.79\n" in done.stdout


def test_an_environment_of_another_interpreter_is_made_anew(
    checkout: CiCheckout,
) -> None:
    checkout.has(OLDEST)
    checkout.has(NEWEST)
    script = checkout.ends_after_the_choice
    named = script.run(PYTHON="python3.77")
    assert "» .venv has Python 3.77.0 " in named.stdout

    assert "» .venv has Python 3.79.0 " in script.run().stdout
    made = (checkout.environment / STAMP).stat().st_mtime_ns
    assert "» .venv has Python 3.79.0 " in script.run().stdout

    assert (checkout.environment / STAMP).stat().st_mtime_ns == made
    assert len([line for line in checkout.calls if " -m pip " in line]) == 2


def test_a_named_interpreter_is_taken_or_none(checkout: CiCheckout) -> None:
    checkout.has(NEWEST)
    checkout.has(OLDEST, then="exit 3")

    done = checkout.run(PYTHON="python3.77")

    assert done.returncode == 1
    assert done.stderr.endswith("» python3.77 cannot make the environment\n")
    assert not checkout.environment.exists()


def test_without_a_supported_interpreter_one_sentence_says_so(checkout: CiCheckout) -> None:
    checkout.has((3, 12, 1), "python3")

    done = checkout.run()

    assert done.returncode
    assert done.stderr.endswith("no supported Python of this machine can make the environment\n")
