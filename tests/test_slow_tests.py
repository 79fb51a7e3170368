"""A test leaves ``make test`` only if slow_tests.txt lists it with its reason, so that a review sees it."""

from __future__ import annotations

import ast
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.airflow_installation import PROJECT

LIST = Path(__file__).with_name("slow_tests.txt")
UPDATE = "UPDATE_SNAPSHOTS"
HEAD = """\
# Tests that CI and `make test-all` run, and `make test` does not, below the reason in their marker.
# A file stands here itself if `make test` runs none of its tests. UPDATE_SNAPSHOTS=1 renews the list (tests/test_slow_tests.py).
"""


def test_the_list_has_each_slow_test_with_its_reason() -> None:
    files = sorted((PROJECT / "tests").rglob("test_*.py"))
    listed = _list_of(
        {file.relative_to(PROJECT).as_posix(): file.read_text(encoding="utf-8") for file in files}
    )
    if os.environ.get(UPDATE):
        LIST.write_text(listed, encoding="utf-8")
    assert listed == LIST.read_text(encoding="utf-8"), f"{UPDATE}=1 renews {LIST.name}"


def test_a_file_of_which_nothing_is_left_stands_on_the_list_itself() -> None:
    kills, waits = _test("a", "slow('kills')"), _test("b", "slow('waits')")
    files = {
        "a.py": kills + _test("b", "own_database"),
        "b.py": kills + waits + _test("c", "long"),
        "c.py": "class TestX:\n    " + kills.replace("\n", "\n    ") + "\n" + _test("b"),
        "d.py": _test("c", "long"),
    }
    assert (
        _list_of(files)
        == f"{HEAD}\nkills\n    a.py::test_a\n    b.py\n    c.py::TestX::test_a\n\nwaits\n    b.py\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "@pytest.mark.{}\ndef test_a(): ...",
        "@pytest.mark.{}()\ndef test_a(): ...",
        "@pytest.mark.{}(REASON)\ndef test_a(): ...",
        "pytestmark = pytest.mark.{}('kills')\ndef test_a(): ...",
        "@pytest.mark.parametrize('a', [pytest.param(1, marks=pytest.mark.{}('kills'))])\ndef test_a(a): ...",
    ],
)
def test_a_marker_that_no_line_of_the_list_could_show_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.py: mark a whole test, with its reason as a text"):
        _list_of({"a.py": text.format("slow")})


def _test(name: str, *markers: str) -> str:
    return "".join(f"@pytest.mark.{marker}\n" for marker in markers) + f"def test_{name}(): ...\n"


def _list_of(files: Mapping[str, str]) -> str:
    """The list of these files of tests: their texts by name."""
    lines: defaultdict[str, set[str]] = defaultdict(set)
    for name, text in files.items():
        # Not as one word: this file has no slow test.
        marker = ".".join(("mark", "slow"))
        if marker not in text:
            continue
        markers = {
            test: [ast.unparse(each) for each in function.decorator_list]
            for test, function in _tests(ast.parse(text))
        }
        slow = {
            test: next((_reason(each) for each in of_test if each.startswith(f"pytest.{marker}")), None)
            for test, of_test in markers.items()
        }
        reasons = {test: reason for test, reason in slow.items() if reason}
        if len(reasons) != text.count(marker):
            raise ValueError(f"{name}: mark a whole test, with its reason as a text: @pytest.{marker}(...)")
        is_left = any(
            not slow[test] and "pytest.mark.long" not in of_test for test, of_test in markers.items()
        )
        for test, reason in reasons.items():
            lines[reason].add(f"{name}::{test}" if is_left else name)
    parts = [HEAD, *("\n    ".join([reason, *sorted(lines[reason])]) + "\n" for reason in sorted(lines))]
    return "\n".join(parts)


def _tests(module: ast.Module) -> list[tuple[str, ast.FunctionDef]]:
    """The test functions of the module and of its classes, as pytest names them."""
    classes = [(f"{node.name}::", node) for node in module.body if isinstance(node, ast.ClassDef)]
    places: list[tuple[str, ast.Module | ast.ClassDef]] = [("", module), *classes]
    return [
        (prefix + node.name, node)
        for prefix, place in places
        for node in place.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def _reason(marker: str) -> str | None:
    """The only argument, if it is a text."""
    call = ast.parse(marker, mode="eval").body
    match call:
        case ast.Call(args=[ast.Constant(value=str(reason))], keywords=[]):
            return reason
    return None
