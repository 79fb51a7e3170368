"""What we require fits the versions that the Airflow project pins: platforms apply its list to requirements.txt.

The list of a release is ``airflow-<version>-python<version>.constraints.txt`` in this folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.airflow_installation import PROJECT

CONSTRAINTS = sorted(Path(__file__).parent.glob("*.constraints.txt"))
FILES = ("requirements.txt", "deploy/requirements.txt")
MWAA = (PROJECT / "docs/install/mwaa.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("constraints", CONSTRAINTS, ids=lambda path: path.name)
def test_every_requirement_admits_the_pin(constraints: Path, name: str) -> None:
    pins = pins_of(constraints)
    shared = [
        each for each in requirements((PROJECT / name).read_text(encoding="utf-8")) if key(each) in pins
    ]
    assert len(shared) >= 5
    assert {
        str(each): pins[key(each)] for each in shared if not each.specifier.contains(pins[key(each)])
    } == {}


@pytest.mark.parametrize("constraints", CONSTRAINTS, ids=lambda path: path.name)
def test_the_wheel_admits_the_airflow_of_the_list(constraints: Path) -> None:
    (airflow,) = requirements((PROJECT / "requirements-airflow.txt").read_text(encoding="utf-8"))
    assert airflow.specifier.contains(constraints.name.split("-")[1])


def test_the_constraints_of_mwaa_pin_every_package_of_its_page() -> None:
    ((version, python),) = re.findall(r"/constraints-([\d.]+)/constraints-([\d.]+)\.txt", MWAA)
    pins = pins_of(Path(__file__).with_name(f"airflow-{version}-python{python}.constraints.txt"))
    (block,) = re.findall(
        r"^cat > \S*requirements\.txt <<'END'\n(.*?)^END$", MWAA, flags=re.DOTALL | re.MULTILINE
    )
    named = list(requirements(re.sub(r"^/.*\.whl$", "", block, flags=re.MULTILINE)))
    assert len(named) == 5
    assert [each for each in named if not each.specifier.contains(pins[key(each)])] == []


def requirements(text: str) -> Iterator[Requirement]:
    """The requirements of a requirements file, without its options and comments."""
    for line in text.splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement and not requirement.startswith("-"):
            yield Requirement(requirement)


def pins_of(constraints: Path) -> dict[str, str]:
    """The pinned version by normalised name."""
    lines = re.findall(r"^([\w.-]+)==(\S+)$", constraints.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def key(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)
