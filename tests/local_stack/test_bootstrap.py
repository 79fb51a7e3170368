"""The Makefile creates the environment on any machine with make and a supported Python, and reports what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local_stack.bootstrap import STAMP, BootstrapError, pinned_uv, supported_versions
from tests.airflow_installation import PROJECT
from tests.local_stack.checkout import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "project")


def test_the_environment_is_made_without_any_program_but_python(checkout: Checkout) -> None:
    checkout.has_python()

    done = checkout.make("venv")

    assert (done.returncode, done.stderr) == (
        0,
        f"» environment on Python 3.12.1 ({checkout.path}/python3)\n",
    )
    assert done.stdout == f"» .venv has Python 3.12.1 {checkout.path}/python3\n"
    assert (checkout.environment / STAMP).exists()
    pip, uv = checkout.calls
    assert pip.startswith(".venv/bin/python -m pip install")
    assert "--require-hashes" in pip
    assert uv.endswith("pip sync --quiet --compile-bytecode --require-hashes requirements.lock")
    assert re.fullmatch(
        r"uv==\S+ \\\n(    --hash=sha256:\w+( \\)?\n)+", (checkout.environment / "uv.lock").read_text()
    )
    # A second time there is nothing to do, also for another interpreter.
    checkout.has_python("python3.13", version=(3, 13, 5, "final", 0))
    assert checkout.make("PYTHON=python3.13", "venv").stdout == done.stdout
    assert len(checkout.calls) == 2


def test_the_environment_may_lie_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    """On a faster disk, for example. Python's venv refuses a symbolic link."""
    checkout.has_python()
    checkout.environment.symlink_to(tmp_path / "elsewhere")

    for _ in range(2):
        assert checkout.make("venv").returncode == 0
        assert (tmp_path / "elsewhere" / STAMP).exists()
        (tmp_path / "elsewhere" / STAMP).unlink()

    checkout.has_python(then="exit 3")
    assert checkout.make("venv").returncode
    assert (checkout.environment.is_symlink(), (tmp_path / "elsewhere").exists()) == (True, False)


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
