"""Measure, and print a line for each measurement after its own table.

python -m benchmarks [NAME or GROUP ...] [--size full|small] [--only PART ...]

Without a name: all. ``--only`` chooses parts of one measurement, for example ``batches --only usage billing``. Compare ratios, not seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.place import measure_in

# By group (results: benchmarks/README.md): the modules, with the function unless it is ``measurement``.
GROUPS: Mapping[str, Sequence[str]] = {
    "speed": ("dag_import", "floors.comparison:batches", "payments", "people", "throttling", "backup"),
    "scale": ("growth", "growth:years", "workers", "through_airflow", "through_airflow:board"),
    "shocks": (
        *("shocks.messages:nine_o_clock", "shocks.messages:dead_messages", "shocks.failing_tenants"),
        *("people:large_directory", "shocks.small_disk", "shocks.network_cut", "shocks.clock"),
        *(f"shocks.disturbed:{name}" for name in ("low_memory", "deploy", "two_runs", "cleared_month")),
    ),
}
MODULES = {re.split("[.:]", module)[-1]: module for modules in GROUPS.values() for module in modules}


def main(arguments: argparse.Namespace) -> int:
    """Each measurement in a process of its own; 1 if one exceeds a bound, or broke something."""
    is_broken = False
    names = [name for chosen in arguments.names or GROUPS for name in GROUPS.get(chosen, (chosen,))]
    for module in [MODULES.get(name, name) for name in names]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            found = process.submit(measure_in, module, arguments.size == "small", arguments.only).result()
        verdict = f"BROKEN: {'; '.join(found.problems)}" if found.problems else "OK"
        print(
            f"{module:<24} {found.size:<30} {found.bound:<40} {found.seconds:>8.1f} s"
            f" {found.peak_memory_bytes / 2**20:>5.0f} MB  {found.result}  {verdict}",
            flush=True,
        )
        is_broken |= bool(found.problems)
    return int(is_broken)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*GROUPS, *MODULES, []], metavar="NAME")
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--only", nargs="+", default=(), metavar="PART")
    return parser


if __name__ == "__main__":
    sys.exit(main(_parser().parse_args()))
