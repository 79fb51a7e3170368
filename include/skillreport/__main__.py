"""The commands of an administrator: schema ``batch`` in the host's database, and a restore without Airflow.

All commands speak Japanese, as the findings of ``check`` and the alerts.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

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
  %(prog)s check
  %(prog)s upgrade --plan
  %(prog)s upgrade
  %(prog)s indexes --create
  %(prog)s backup --store s3://bucket/batch list --json"""
_SCRIPT = "skill-batch"

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def command_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each sets its function as ``run``."""
    parser = argparse.ArgumentParser(
        # The wheel has the script. In folders, only the module can be run.
        prog=_SCRIPT if Path(sys.argv[0]).stem == _SCRIPT else "python -m include.skillreport",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skill-report-batches {VERSION}")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="進み具合を、表やファイルごとに詳しく出す"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="コマンド")
    add_schema_actions(actions)
    add_backup(actions)
    return parser


class _SignalledError(KeyboardInterrupt):
    """A signal has ended the command. psycopg cancels the statement that is running."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise the first signal that ends a process, so that the command removes its files and databases. Further ones are ignored.

    A signal that was ignored before (``nohup``) stays ignored.
    """

    def end(number: int, _: object) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        raise _SignalledError(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = {
        each: signal.getsignal(each) for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN
    }
    for each in handled:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each, before in handled.items():
            signal.signal(each, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status. 1 is a failure, with a sentence on standard error, 2 is wrong usage, and
    128 and the number of a signal an interruption.
    """
    parser = command_parser()
    if "_ARGCOMPLETE" in os.environ:
        # The shell asks for completions: eval "$(register-python-argcomplete skill-batch)".
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S %z")
    logging.getLogger("include.skillreport").setLevel(logging.DEBUG if options.verbose else logging.INFO)
    try:
        with _signals_raised():
            return options.run(options) or 0
    except _SignalledError as ended:
        # The terminal of a lost session is gone.
        with suppress(OSError):
            print(
                f"{options.action}: シグナル {ended.number.name} で中断し、途中のものを片付けました。",
                file=sys.stderr,
            )
        return 128 + ended.number
    except argparse.ArgumentError as error:
        parser.error(str(error))
    except (BatchError, psycopg.Error, OSError) as error:
        print(f"{options.action}: {reason_of(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
