"""Deploy schema ``batch`` to the host's database, or check whether the database is suitable.

The login of --dsn (or of the environment variable SKILL_BATCH_ADMIN_DSN) owns the host's tables and may create roles. Give the direct
host: a connection pooler is refused. `check` changes nothing and exits with 0 (the database is suitable, remarks allowed), 1 (it is not
suitable) or 2 (wrong usage). `indexes` changes nothing either without `--create` or `--forget`. If SKILL_BATCH_TENANT_PASSWORD,
SKILL_BATCH_PLATFORM_PASSWORD, SKILL_BATCH_BOARD_PASSWORD and, with deletion, SKILL_BATCH_CLEANUP_PASSWORD are set, these roles can log in
after `upgrade`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from include.skillreport.core.docstrings import docstring_of
from include.skillreport.schema.checks.privileges import BOARD, CLEANUP, PLATFORM, TENANT

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

# The connection string of the deploying login.
ADMIN_VARIABLE = "SKILL_BATCH_ADMIN_DSN"

# By role, the environment variables of its password, and of the connection string of the login that acts as the role.
PASSWORD_VARIABLES = {
    TENANT: "SKILL_BATCH_TENANT_PASSWORD",
    PLATFORM: "SKILL_BATCH_PLATFORM_PASSWORD",
    BOARD: "SKILL_BATCH_BOARD_PASSWORD",
    CLEANUP: "SKILL_BATCH_CLEANUP_PASSWORD",
}
_LOGINS = {
    TENANT: "SKILL_BATCH_TENANT_DSN",
    PLATFORM: "SKILL_BATCH_PLATFORM_DSN",
    BOARD: "SKILL_BATCH_BOARD_DSN",
    CLEANUP: "SKILL_BATCH_CLEANUP_DSN",
}


def add_schema_actions(actions: Actions) -> None:
    """Add ``check``, ``upgrade``, ``detach``, ``attach`` and ``indexes``. Each has the function of the action as ``run``.

    The functions import what they need, so that ``backup`` does not need Alembic.
    """
    check = _add(actions, "check", _check, "say everything that does not fit, and what to do; change nothing")
    _add_check_arguments(check)
    upgraded = _add(actions, "upgrade", _upgrade, "create or upgrade roles, schema and views")
    upgraded.add_argument(
        "--plain-passwords",
        action="store_true",
        help="send the passwords in plain text: managed servers such as Neon refuse SCRAM hashes",
    )
    deletion = upgraded.add_mutually_exclusive_group()
    deletion.add_argument(
        "--with-deletion",
        action="store_true",
        default=None,
        help="let batch_cleanup delete rows of the application's tables; later upgrades keep the choice",
    )
    deletion.add_argument(
        "--without-deletion",
        dest="with_deletion",
        action="store_false",
        help="take it back: drop its views, and revoke the privileges",
    )
    _add(actions, "detach", _detach, "drop the views, so that `prisma db push` can alter the host's columns")
    _add(actions, "attach", _attach, "create the views again")
    indexes = _add(
        actions,
        "indexes",
        _indexes,
        "list the indexes that the host's tables lack, or create them",
    )
    _add_index_arguments(indexes)


def _add(
    actions: Actions, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    command = actions.add_parser(name, help=text, description=f"{text}. {docstring_of(__file__)}")
    command.add_argument("--dsn", default=os.environ.get(ADMIN_VARIABLE), help="libpq connection string")
    command.set_defaults(run=lambda options: _with_dsn(options, run))
    return command


def _with_dsn(options: argparse.Namespace, run: Callable[[argparse.Namespace], int | None]) -> int | None:
    if not options.dsn:
        raise argparse.ArgumentError(None, f"give --dsn or set {ADMIN_VARIABLE}")
    return run(options)


def _upgrade(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import upgrade

    variant = upgrade(
        options.dsn,
        passwords=_passwords(),
        plain_passwords=options.plain_passwords,
        with_deletion=options.with_deletion,
    )
    print(f"Schema batch is up to date ({variant} variant of the host).")


def _detach(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import detach

    detach(options.dsn)
    print("The views of schema batch are dropped. Run `attach` after the host's change.")


def _attach(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import attach

    print(f"The views of schema batch are back ({attach(options.dsn)} variant of the host).")


def _add_check_arguments(check: argparse.ArgumentParser) -> None:
    for role, name in _LOGINS.items():
        check.add_argument(
            f"--{role.removeprefix('batch_')}-dsn",
            default=os.environ.get(name),
            help=f"connection string of the login that acts as {role} (or {name})",
        )
    check.add_argument(
        "--backup-dsn",
        default=os.environ.get("SKILL_BATCH_BACKUP_DSN"),
        help="connection string of the login of BATCH-001 and of restores (or SKILL_BATCH_BACKUP_DSN)",
    )
    check.add_argument(
        "--bin",
        default="",
        metavar="FOLDER",
        help="folders of pg_dump, if it is neither in those of the packages nor on the PATH",
    )
    check.add_argument("--json", action="store_true", help="print the findings as JSON")


def _add_index_arguments(indexes: argparse.ArgumentParser) -> None:
    choice = indexes.add_mutually_exclusive_group()
    choice.add_argument(
        "--create",
        nargs="*",
        metavar="NAME",
        help="create the missing indexes, or only those named, while the application goes on writing",
    )
    choice.add_argument(
        "--forget", nargs="+", metavar="NAME", help="let `check` no longer miss these indexes"
    )


def _indexes(arguments: argparse.Namespace) -> None:
    from include.skillreport.schema.host_indexes.creation import create_indexes, forget_indexes, list_indexes

    if arguments.create is not None:
        sentences = list(_printed(create_indexes(arguments.dsn, arguments.create)))
        if not sentences:
            print("足りない索引はありません。")
    elif arguments.forget:
        forget_indexes(arguments.dsn, arguments.forget)
        print("記録から除きました。索引そのものは変えていません。")
    else:
        print(list_indexes(arguments.dsn))


def _printed(sentences: Iterable[str]) -> Iterator[str]:
    for sentence in sentences:
        print(sentence, flush=True)
        yield sentence


def _check(arguments: argparse.Namespace) -> int:
    from include.skillreport.schema.checks.airflow_dags import check_airflow
    from include.skillreport.schema.checks.report import check_database

    given = {role: getattr(arguments, f"{role.removeprefix('batch_')}_dsn") for role in _LOGINS}
    report = check_database(
        arguments.dsn,
        logins={role: dsn for role, dsn in given.items() if dsn},
        backup=arguments.backup_dsn or "",
        with_passwords=_passwords(),
        bin_dir=arguments.bin,
    )
    report = replace(report, findings=(*report.findings, *check_airflow()))
    print(report.as_json() if arguments.json else report.as_text())
    return 0 if report.fits else 1


def _passwords() -> dict[str, str]:
    return {role: os.environ[name] for role, name in PASSWORD_VARIABLES.items() if os.environ.get(name)}
