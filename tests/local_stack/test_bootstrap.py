"""The Makefile creates the environment on any machine with make and a supported Python, and reports what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local_stack.bootstrap import STAMP, BootstrapError, pinned_uv, supported_versions
from tests.airflow_installation import PROJECT
from tests.waiting import LIMIT_SECONDS

# A stand-in for python3. It runs scripts with the tests' own Python, and its environments hold programs that only note their arguments.
INTERPRETER = """\
#!{python}
import importlib.util, os, pathlib, runpy, shutil, sys

sys.version_info = {version!r}
sys.executable = __file__
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {missing!r} else find_spec(name)
if sys.argv[1:3] == ["-m", "venv"]:
    binaries = pathlib.Path(sys.argv[-1], "bin")
    shutil.rmtree(binaries.parent, ignore_errors=True)  # --clear
    binaries.mkdir(parents=True)
    for name in ("python", "uv"):
        program = binaries / name
        program.write_text({program!r})
        program.chmod(0o755)
elif sys.argv[1] == "-c":
    code = sys.argv[2]
    del sys.argv[1:3]
    exec(code)
else:
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""

PROGRAM = """\
#!/bin/sh
echo "$0 $*" >> ../calls
{then}
"""


@dataclass
class Checkout:
    """The files of the project that the recipe needs, and a PATH with only a stand-in for Python."""

    project: Path
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.project.parent / "bin"
        self.path.mkdir()
        (self.project / "local_stack").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "requirements.lock", "local_stack/bootstrap.py"):
            shutil.copy(PROJECT / name, self.project / name)

    def has_python(
        self,
        name: str = "python3",
        *,
        version: tuple[object, ...] = (3, 12, 1, "final", 0),
        missing: tuple[str, ...] = (),
        then: str = "",
    ) -> None:
        """Put an interpreter on the PATH. ``then`` is what pip and uv do after they have noted their arguments."""
        interpreter = self.path / name
        program = PROGRAM.format(then=then)
        text = INTERPRETER.format(python=sys.executable, version=version, missing=missing, program=program)
        interpreter.write_text(textwrap.dedent(text))
        interpreter.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make
        return subprocess.run(
            [make, *arguments],
            cwd=self.project,
            env={"PATH": str(self.path)},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    @property
    def environment(self) -> Path:
        return self.project / ".venv"

    @property
    def calls(self) -> list[str]:
        return (self.project.parent / "calls").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "project")


def test_the_environment_is_made_without_any_program_but_python(checkout: Checkout) -> None:
    checkout.has_python()

    done = checkout.make("venv")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "» environment\n")
    assert (checkout.environment / STAMP).exists()
    pip, uv = checkout.calls
    assert pip.startswith(".venv/bin/python -m pip install")
    assert "--require-hashes" in pip
    assert uv.endswith("pip sync --quiet --compile-bytecode --require-hashes requirements.lock")
    assert re.fullmatch(
        r"uv==\S+ \\\n(    --hash=sha256:\w+( \\)?\n)+", (checkout.environment / "uv.lock").read_text()
    )
    # A second time there is nothing to do.
    checkout.make("venv")
    assert len(checkout.calls) == 2


def test_make_alone_lists_the_targets(checkout: Checkout) -> None:
    checkout.has_python()
    listed = checkout.make()
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(r"^demo +run the batches on demo data", listed.stdout, flags=re.MULTILINE)
    assert re.search(r"^db-start db-stop db-reset +start", listed.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("minor", [11, 14])
def test_every_supported_python_makes_the_environment(checkout: Checkout, minor: int) -> None:
    checkout.has_python(version=(3, minor, 0, "final", 0))
    assert checkout.make("venv").returncode == 0


@pytest.mark.parametrize("minor", [9, 15])
def test_another_python_is_refused_and_a_supported_one_is_named(checkout: Checkout, minor: int) -> None:
    checkout.has_python(version=(3, minor, 6, "final", 0))
    checkout.has_python("python3.13")

    done = checkout.make("venv")

    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert done.returncode
    assert sentence == (
        f"Python 3.11 to 3.14 is needed, but {checkout.path}/python3 is Python 3.{minor}.6: "
        "install one of them, or name another interpreter, for example: make PYTHON=python3.13 demo"
    )
    assert not checkout.environment.exists()
    assert checkout.make("PYTHON=python3.13", "venv").returncode == 0


def test_without_python_one_sentence_says_what_to_do(checkout: Checkout) -> None:
    done = checkout.make("venv")
    assert done.returncode
    assert "There is no python3: install Python, or name another interpreter" in done.stderr


def test_a_missing_ensurepip_is_named_with_its_package(checkout: Checkout) -> None:
    checkout.has_python(missing=("ensurepip",))

    done = checkout.make("venv")

    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert done.returncode
    assert sentence.startswith(f"{checkout.path}/python3 has no module ensurepip: install it")
    assert "apt-get install python3-venv" in sentence
    assert not checkout.environment.exists()


@pytest.mark.parametrize(
    ("then", "remains"),
    [
        pytest.param("exit 3", False, id="a program fails"),
        pytest.param("kill -TERM $PPID", False, id="the bootstrap is terminated"),
        # After a kill no code can clean up, but the stamp is missing.
        pytest.param("kill -KILL $PPID", True, id="the bootstrap is killed"),
    ],
)
def test_half_an_environment_is_made_anew(checkout: Checkout, then: str, remains: bool) -> None:
    checkout.has_python(then=then)

    assert checkout.make("venv").returncode
    assert checkout.environment.exists() == remains
    assert not (checkout.environment / STAMP).exists()

    checkout.has_python()
    assert checkout.make("venv").returncode == 0
    assert (checkout.environment / STAMP).exists()


def test_a_lock_file_without_uv_is_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("uvloop==1 \\\n    --hash=sha256:00\n")
    with pytest.raises(BootstrapError, match="does not pin uv"):
        pinned_uv(str(lock))


def test_readme_and_lock_file_support_the_same_versions() -> None:
    (_, first), (_, end) = supported_versions(str(PROJECT / "pyproject.toml"))
    assert f"Python 3.{first} to 3.{end - 1}, make" in (PROJECT / "README.md").read_text(encoding="utf-8")
    assert f"--python-version 3.{first}" in (PROJECT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "newer", [r"\.ONESHELL", r"\$\(file ", r"!=", r"&:", r"::=", r"\$\(let ", r"\$\(intcmp ", r"^undefine "]
)
def test_the_makefile_is_for_gnu_make_3_81(newer: str) -> None:
    lines = (PROJECT / "Makefile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("\t") and re.search(newer, line)] == []


@pytest.mark.parametrize("program", ["sed", "grep", "expand", "awk", "touch", "bash"])
def test_no_recipe_needs_a_program_that_differs_between_systems(program: str) -> None:
    lines = [
        line.partition(" ## ")[0] for line in (PROJECT / "Makefile").read_text(encoding="utf-8").splitlines()
    ]
    assert [line for line in lines if re.search(rf"\b{program}\b", line)] == []
