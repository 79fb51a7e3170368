"""The commands that check the host's database and deploy schema ``batch``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from include.skillreport.schema.checks.privileges import BOARD, CLEANUP, PLATFORM, TENANT

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

# Ends the description of `upgrade`.
_PASSWORDS = (
    "SKILL_BATCH_TENANT_PASSWORD、SKILL_BATCH_PLATFORM_PASSWORD、SKILL_BATCH_BOARD_PASSWORD"
    "（削除を許すときは SKILL_BATCH_CLEANUP_PASSWORD も）を設定すると、そのロールでログインできるようになります。"
)

# The connection string of the deploying login.
ADMIN_VARIABLE = "SKILL_BATCH_ADMIN_DSN"

# By role: the environment variables of its password and of its login's connection string.
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
    """Add ``check``, ``upgrade``, ``detach``, ``attach`` and ``indexes``, each with its function as ``run``.

    The functions import what they need, so that ``backup`` does not need Alembic.
    """
    check = _add(actions, "check", _check, "合わないものと、することを全部示す。何も変えない")
    _add_check_arguments(check)
    upgraded = _add(actions, "upgrade", _upgrade, "ロール、スキーマ、ビューを作るか、新しくする", _PASSWORDS)
    upgraded.add_argument(
        "--plain-passwords",
        action="store_true",
        help="パスワードを平文で送る（Neon など、SCRAM のハッシュを受け付けないサーバー）",
    )
    upgraded.add_argument("--plan", action="store_true", help="することを示すだけで、何も変えない")
    deletion = upgraded.add_mutually_exclusive_group()
    deletion.add_argument(
        "--with-deletion",
        action="store_true",
        default=None,
        help="アプリケーションの行の削除を batch_cleanup に許す。次の upgrade でも変わらない",
    )
    deletion.add_argument(
        "--without-deletion",
        dest="with_deletion",
        action="store_false",
        help="許可を取り消す。ビューを消し、権限を取り上げる",
    )
    _add(actions, "detach", _detach, "ビューを消す。`prisma db push` で列を変える前に実行する")
    _add(actions, "attach", _attach, "ビューを作り直す")
    indexes = _add(
        actions,
        "indexes",
        _indexes,
        "アプリケーションの表に足りない索引を示すか、作る",
    )
    _add_index_arguments(indexes)


def _add(
    actions: Actions,
    name: str,
    run: Callable[[argparse.Namespace], int | None],
    text: str,
    further: str = "",
) -> argparse.ArgumentParser:
    command = actions.add_parser(name, help=text, description=f"{text}。{further}")
    command.add_argument(
        "--dsn",
        default=os.environ.get(ADMIN_VARIABLE),
        help=f"アプリケーションの表を所有するログインの接続文字列（または {ADMIN_VARIABLE}）。接続プーラーではなく、サーバーに直接つなぐ",
    )
    command.set_defaults(run=lambda options: _with_dsn(options, run))
    return command


def _with_dsn(options: argparse.Namespace, run: Callable[[argparse.Namespace], int | None]) -> int | None:
    if not options.dsn:
        raise argparse.ArgumentError(
            None, f"--dsn か環境変数 {ADMIN_VARIABLE} で接続文字列を指定してください"
        )
    return run(options)


def _upgrade(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import plan, upgrade

    if options.plan:
        print("\n".join(plan(options.dsn)))
        return
    variant = upgrade(
        options.dsn,
        passwords=_passwords(),
        plain_passwords=options.plain_passwords,
        with_deletion=options.with_deletion,
    )
    print(f"スキーマ batch は最新です（アプリケーションの型: {variant}）。")


def _detach(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import detach

    detach(options.dsn)
    print(
        "スキーマ batch のビューを消しました。アプリケーションの列を変えたあとに `attach` を実行してください。"
    )


def _attach(options: argparse.Namespace) -> None:
    from include.skillreport.schema.deploy import attach

    print(f"スキーマ batch のビューを作り直しました（アプリケーションの型: {attach(options.dsn)}）。")


def _add_check_arguments(check: argparse.ArgumentParser) -> None:
    for role, name in _LOGINS.items():
        check.add_argument(
            f"--{role.removeprefix('batch_')}-dsn",
            default=os.environ.get(name),
            help=f"{role} として働くログインの接続文字列（または {name}）",
        )
    check.add_argument(
        "--backup-dsn",
        default=os.environ.get("SKILL_BATCH_BACKUP_DSN"),
        help="BATCH-001 と復元のログインの接続文字列（または SKILL_BATCH_BACKUP_DSN）",
    )
    check.add_argument(
        "--bin",
        default="",
        metavar="フォルダー",
        help="pg_dump のフォルダー（パッケージの場所と PATH にないとき）",
    )
    check.add_argument("--json", action="store_true", help="結果を JSON で出す")


def _add_index_arguments(indexes: argparse.ArgumentParser) -> None:
    indexes.add_argument("--json", action="store_true", help="足りない索引の一覧を JSON で出す")
    choice = indexes.add_mutually_exclusive_group()
    choice.add_argument(
        "--create",
        nargs="*",
        metavar="名前",
        help="足りない索引を、アプリケーションの書込みを止めずに作る。名前を付けると、それだけを作る",
    )
    choice.add_argument(
        "--forget", nargs="+", metavar="名前", help="これらの索引がなくても `check` に出さない"
    )


def _indexes(arguments: argparse.Namespace) -> None:
    from include.skillreport.schema.host_indexes.creation import (
        create_indexes,
        forget_indexes,
        list_indexes,
        missing_host_indexes,
    )

    if arguments.create is not None:
        sentences = list(_printed(create_indexes(arguments.dsn, arguments.create)))
        if not sentences:
            print("足りない索引はありません。")
    elif arguments.forget:
        forget_indexes(arguments.dsn, arguments.forget)
        print("記録から除きました。索引そのものは変えていません。")
    elif arguments.json:
        records = [state.as_record() for state in missing_host_indexes(arguments.dsn)]
        print(json.dumps(records, ensure_ascii=False, indent=2))
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
