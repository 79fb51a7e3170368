"""Measure the import of each DAG file, as in the DAG processor, against the import of ``airflow.sdk`` in the same process.

Both in milliseconds, best of five. A busy or slow machine changes the milliseconds and not the ratio.

    python -m benchmarks.dag_import
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# A driver, a provider or the rules of a batch would cost more.
MOST_PERCENT = 30
ROUNDS = 5
CODE = """
import runpy, sys, time
start = time.perf_counter()
import airflow.sdk
imported = time.perf_counter()
runpy.run_path(sys.argv[1])
print((imported - start) * 1000, (time.perf_counter() - imported) * 1000)
"""


@dataclass(frozen=True)
class Import:
    """Milliseconds in a fresh interpreter."""

    airflow: float
    file: float

    @property
    def percent(self) -> float:
        """What the file adds to the import of Airflow."""
        return self.file / self.airflow * 100


def measured(path: Path) -> Import:
    """One import of the file."""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, path], env=environment, capture_output=True, text=True, check=True
    )
    return Import(*map(float, done.stdout.split()[-2:]))


def main() -> int:
    """1 if a file adds more than ``MOST_PERCENT``."""
    most = 0.0
    for path in sorted((PROJECT / "dags").rglob("*.py")):
        rounds = [measured(path) for _ in range(ROUNDS)]
        best = Import(min(each.airflow for each in rounds), min(each.file for each in rounds))
        most = max(most, best.percent)
        print(f"{best.file:>7.1f} ms {best.percent:>5.1f} %  {path.relative_to(PROJECT)}", flush=True)
    return 0 if most < MOST_PERCENT else 1


if __name__ == "__main__":
    sys.exit(main())
