"""The commands of an administrator: schema ``batch`` in the host's database, and a restore without Airflow.

All commands speak Japanese, as the findings of ``check`` and the alerts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg

from include.skillreport.batches.data_backup.command import add_backup
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.core.version import VERSION
from include.skillreport.schema.command import add_schema_actions

_DESCRIPTION = """\
管理者のコマンド: データベースの検査とスキーマ batch の配置、Airflow なしの復元

接続文字列は、環境変数 SKILL_BATCH_ADMIN_DSN か --dsn で渡します。
終了コード: 0 成功（check では「適合」）、1 失敗（check では「不適合」）、2 使い方の誤り"""
_EXAMPLES = """\
例:
  python -m include.skillreport check
  python -m include.skillreport upgrade
  python -m include.skillreport indexes --create
  python -m include.skillreport backup --store s3://bucket/batch list"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status. 1 is a failure, with a sentence on standard error, and 2 is wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m include.skillreport",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skill-report-batches {VERSION}")
    actions = parser.add_subparsers(dest="action", required=True, metavar="コマンド")
    add_schema_actions(actions)
    add_backup(actions)
    options = parser.parse_args(arguments)
    try:
        return options.run(options) or 0
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except (BatchError, psycopg.Error, OSError) as error:
        print(f"{options.action}: {reason_of(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
