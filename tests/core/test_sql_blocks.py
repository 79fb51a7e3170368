"""The SQL of a package: the allowed content of a file of named blocks, and whether the code reads every block."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.skillreport.core.database import Statements, sql_blocks

PROJECT = Path(__file__).parents[2]
SOURCES = ("include", "plugins", "dags", "local_stack", "benchmarks")

LOAD = "-- name: load_accounts\n-- Every account.\nSELECT 1;\n"
SAVE = "-- name: save_account\nSELECT 2;\n"


def package(root: Path, **files: str) -> Path:
    """A package with these files in its folder ``sql``."""
    (root / "sql").mkdir(parents=True)
    for name, text in files.items():
        (root / "sql" / f"{name}.sql").write_text(text, encoding="utf-8")
    return root


def test_a_block_has_its_comments_and_its_statement(tmp_path: Path) -> None:
    billing = package(tmp_path, accounts=f"{LOAD}\n{SAVE}", ledger="-- name: void\nSELECT 3;\nSELECT 4;\n")
    statements = Statements(billing)
    assert statements["load_accounts"] == "-- Every account.\nSELECT 1;"
    assert statements["save_account"] == "SELECT 2;"
    assert statements["void"] == "SELECT 3;\nSELECT 4;"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"accounts": f"SELECT 0;\n{LOAD}"}, "accounts.sql: text before the first block: SELECT 0;"),
        ({"accounts": "SELECT 0;\n"}, "accounts.sql: text before the first block: SELECT 0;"),
        ({"accounts": LOAD, "ledger": SAVE + LOAD}, "ledger.sql: the folder already has a block 'load_accounts'"),
        ({"accounts": LOAD + LOAD}, "accounts.sql: the folder already has a block 'load_accounts'"),
        ({"accounts": "-- name: load\nSELECT 1\n"}, "accounts.sql: the block 'load' does not end with a semicolon"),
        ({"accounts": f"-- name: load\n{SAVE}"}, "accounts.sql: the block 'load' does not end with a semicolon"),
        ({"accounts": "-- name: load it\nSELECT 1;\n"}, "accounts.sql: 'load it' is no name of a block"),
        ({"accounts": "-- name:\nSELECT 1;\n"}, "accounts.sql: '' is no name of a block"),
    ],
)  # fmt: skip
def test_a_file_that_breaks_the_rule_is_an_error_that_names_it(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    billing = package(tmp_path, **files)
    with pytest.raises(ValueError, match=re.escape(message)):
        sql_blocks(billing)


def test_an_unknown_name_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    billing = package(tmp_path, accounts=LOAD)
    with pytest.raises(LookupError, match=re.escape(f"no file in {billing / 'sql'} has the block 'forget'")):
        Statements(billing)["forget"]


def test_the_code_reads_every_block_and_only_blocks_that_exist() -> None:
    assert mismatches(PROJECT) == []


def test_an_orphan_block_and_a_missing_one_are_found(tmp_path: Path) -> None:
    billing = package(
        tmp_path / "include" / "skillreport" / "billing",
        accounts=LOAD,
        ledger="-- name: old_token\nSELECT 1;\n-- name: old_plan\nSELECT 1;\n-- name: save\nSELECT 1;\n",
    )
    (billing / "accounts.py").write_text(
        "_SQL = Statements(Path(__file__).parent)\n"
        '_SQL.execute(connection, "load_accounts")\n'
        '_SQL.rows(connection, "load_days", day=day)\n'
        'cursor.executemany(_SQL["load_months"], months)\n'
    )
    alerts = package(tmp_path / "plugins" / "skill_batch", alerts="-- name: claim\nSELECT 1;\n")
    (alerts / "delivery.py").write_text(
        'from skill_batch.statements import SQL\nconnection.execute(SQL["claims"])\n'
    )
    (tmp_path / "plugins" / "hook.py").write_text(
        "from include.skillreport.billing import accounts\n"
        "_SQL = Statements(Path(accounts.__file__).parent)\n"
        'TABLES = ("token",)\n'
        'for table in TABLES:\n    _SQL.execute(connection, f"old_{table}")\n'
    )
    assert mismatches(tmp_path) == [
        "include/skillreport/billing/accounts.py reads 'load_days', which no file has",
        "include/skillreport/billing/accounts.py reads 'load_months', which no file has",
        "plugins/skill_batch/delivery.py reads 'claims', which no file has",
        "include/skillreport/billing/sql: nothing reads 'old_plan'",
        "include/skillreport/billing/sql: nothing reads 'save'",
        "plugins/skill_batch/sql: nothing reads 'claim'",
    ]


def mismatches(root: Path) -> list[str]:
    """Names that the code below ``root`` reads and no file has, and blocks that no code reads."""
    reads = [
        read
        for source in SOURCES
        for file in sorted((root / source).rglob("*.py"))
        for read in _reads(root, file)
    ]
    folders = {
        folder.parent: sql_blocks(folder.parent)
        for source in SOURCES
        for folder in sorted((root / source).rglob("sql"))
        if folder.parent != root / "include" / "skillreport" / "schema"
    }
    missing = [
        f"{read.file.relative_to(root)} reads {name!r}, which no file has"
        for read in reads
        for name in read.literals
        if name not in folders.get(read.package, ())
    ]
    orphans = [
        f"{package.relative_to(root)}/sql: nothing reads {name!r}"
        for package, blocks in folders.items()
        for name in blocks
        if not any(package == read.package and read.may_be(name) for read in reads)
    ]
    return missing + orphans


@dataclass(frozen=True)
class Read:
    """A place that names a block: the package whose SQL it reads, and the names it may give."""

    file: Path
    package: Path
    name: ast.expr
    constants: frozenset[str]

    @property
    def literals(self) -> Sequence[str]:
        """The name, if the call spells it."""
        return [str(self.name.value)] if isinstance(self.name, ast.Constant) else []

    def may_be(self, name: str) -> bool:
        """Whether the call may read this block: its name is spelled in the call, or else among the module's strings."""
        if isinstance(self.name, ast.JoinedStr):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "(.+)"
                for part in self.name.values
            )
            match = re.fullmatch(pattern, name)
            return match is not None and self.constants.issuperset(match.groups())
        return name in (self.literals or self.constants)


def _reads(root: Path, file: Path) -> Iterator[Read]:
    """The places in a module that name a block of its Statements: ``_SQL.execute(on, name, ...)`` and ``_SQL[name]``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    constants = frozenset(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    packages = {
        ast.unparse(statement.targets[0]): _package(root, file, tree, ast.unparse(statement.value.args[0]))
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and ast.unparse(statement.value.func) == "Statements"
    }
    for statement in tree.body:
        # A package that shares its Statements: from skill_batch.board.statements import SQL as _SQL
        if isinstance(statement, ast.ImportFrom) and statement.module:
            folder = statement.module.split(".")[:-1]
            base = root / "plugins" if folder[:1] == ["skill_batch"] else root
            for name in statement.names:
                if name.name == "SQL":
                    packages[name.asname or name.name] = base.joinpath(*folder)
    for node in nodes:
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in packages:
            yield Read(file, packages[ast.unparse(node.value)], node.slice, constants)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            statements = ast.unparse(node.func.value)
            if statements in packages:
                yield Read(file, packages[statements], node.args[1], constants)


def _package(root: Path, file: Path, tree: ast.Module, directory: str) -> Path:
    """The folder of an expression such as ``Path(__file__).parents[1]`` or ``Path(accounts.__file__).parent``."""
    match = re.fullmatch(r"Path\((?:(\w+)\.)?__file__\)\.parent(s\[1\])?", directory)
    assert match is not None, f"{file}: {directory} names no package"
    if match[1] is None:
        return file.parents[1] if match[2] else file.parent
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and match[1] in {name.name for name in statement.names}:
            return root.joinpath(*str(statement.module).split("."))
    raise AssertionError(f"{file} does not import {match[1]}")
