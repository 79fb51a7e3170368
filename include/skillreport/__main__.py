"""The commands of an administrator: schema ``batch`` in the host's database, and a restore without Airflow."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg

from include.skillreport.batches.data_backup.command import add_backup
from include.skillreport.core.docstrings import docstring_of
from include.skillreport.core.errors import BatchError, reason_of
from include.skillreport.schema.command import add_schema_actions


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status. 1 is a failure, with a sentence on standard error, and 2 is wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m include.skillreport", description=docstring_of(__file__))
    actions = parser.add_subparsers(dest="action", required=True)
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
