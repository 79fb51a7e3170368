"""Measure the import of each DAG file after ``airflow.sdk`` is imported, as in the DAG processor: milliseconds, best of five."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LIMIT_MS = 150
ROUNDS = 5
CODE = """
import airflow.sdk, runpy, sys, time
start = time.perf_counter()
runpy.run_path(sys.argv[1])
print((time.perf_counter() - start) * 1000)
"""


def milliseconds(path: Path) -> float:
    """One import in a fresh interpreter."""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, path], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> int:
    slowest = 0.0
    for path in sorted((PROJECT / "dags").rglob("*.py")):
        best = min(milliseconds(path) for _ in range(ROUNDS))
        slowest = max(slowest, best)
        print(f"{best:>7.1f} ms  {path.relative_to(PROJECT)}")
    return 0 if slowest < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
