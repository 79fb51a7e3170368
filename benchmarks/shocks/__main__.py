"""Run the shocks, one after the other, and print a line for each.

python -m benchmarks.shocks [NAME ...] [--size full|small]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.shocks import (
    cleared_month,
    clock,
    dead_messages,
    deploy,
    failing_tenants,
    large_directory,
    long_outbox,
    low_memory,
    network_cut,
    nine_o_clock,
    small_disk,
    two_runs,
    unclosed_month,
)
from benchmarks.shocks.world import Found, Place, Shock
from local_stack.postgres_server import EmbeddedPostgres

SHOCKS: Mapping[str, Shock] = {
    "nine_o_clock": nine_o_clock.shock,
    "dead_messages": dead_messages.shock,
    "long_outbox": long_outbox.shock,
    "failing_tenants": failing_tenants.shock,
    "large_directory": large_directory.shock,
    "unclosed_month": unclosed_month.shock,
    "small_disk": small_disk.shock,
    "network_cut": network_cut.shock,
    "low_memory": low_memory.shock,
    "clock": clock.shock,
    "deploy": deploy.shock,
    "two_runs": two_runs.shock,
    "cleared_month": cleared_month.shock,
}
_LONGEST_PROBLEM = 300


def run(name: str, is_small: bool) -> Found:
    """Run one shock with a server and a folder of its own."""
    with tempfile.TemporaryDirectory(prefix=f"shock-{name}-") as directory:
        # The user of the server enters the folder.
        Path(directory).chmod(0o755)
        server = EmbeddedPostgres(Path(directory, "postgres"), durable=False)
        server.start()
        folder = Path(directory, "files")
        folder.mkdir()
        try:
            return SHOCKS[name](Place(server, folder, is_small))
        except (Exception, SystemExit) as error:
            return Found("", "", problems=[f"{type(error).__name__}: {error}"[:_LONGEST_PROBLEM]])
        finally:
            server.reset()


def main(arguments: argparse.Namespace) -> int:
    """Print the table; 1 if a shock broke something."""
    is_broken = False
    print(f"{'shock':<18} {'size':<30} {'bound':<34} {'seconds':>8} {'MB':>5}  result")
    for name in arguments.names or SHOCKS:
        found = run(name, arguments.size == "small")
        verdict = f"BROKEN: {'; '.join(found.problems)}" if found.problems else "OK"
        print(
            f"{name:<18} {found.size:<30} {found.bound:<34} {found.seconds:>8.1f}"
            f" {found.peak_memory_bytes / 2**20:>5.0f}  {found.result}  {verdict}",
            flush=True,
        )
        is_broken |= bool(found.problems)
    return int(is_broken)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shocks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SHOCKS, []], metavar="NAME")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    return parser


if __name__ == "__main__":
    sys.exit(main(_parser().parse_args()))
