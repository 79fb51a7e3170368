"""``python -m include.migrations upgrade`` deploys schema ``batch``; ``check`` only checks the host's schema.

``--dsn`` or the environment variable BATCH_ADMIN_DSN names the database, with a role that owns the host's tables and may create
roles. BATCH_TENANT_PASSWORD and BATCH_PLATFORM_PASSWORD, if set, let the two roles log in.
"""

from __future__ import annotations

import argparse
import os
import sys

import psycopg

from include.errors import BatchError, reason_of
from include.migrations.deploy import PLATFORM, TENANT, upgrade
from include.migrations.host_contract import check_host


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m include.migrations", description=__doc__)
    parser.add_argument("action", choices=["upgrade", "check"])
    parser.add_argument("--dsn", default=os.environ.get("BATCH_ADMIN_DSN"), help="libpq connection string")
    arguments = parser.parse_args()
    if not arguments.dsn:
        parser.error("give --dsn or set BATCH_ADMIN_DSN")
    try:
        if arguments.action == "check":
            with psycopg.connect(arguments.dsn) as connection:
                print(f"The host ({check_host(connection)} variant) has everything the batches need.")
        else:
            passwords = {
                role: os.environ[name]
                for role, name in {
                    TENANT: "BATCH_TENANT_PASSWORD",
                    PLATFORM: "BATCH_PLATFORM_PASSWORD",
                }.items()
                if os.environ.get(name)
            }
            variant = upgrade(arguments.dsn, passwords=passwords)
            print(f"Schema batch is up to date ({variant} variant of the host).")
    except (BatchError, psycopg.Error) as error:
        print(f"{arguments.action}: {reason_of(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
