"""The registry of the benchmarks, whose modules are named by text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# A process of its own: the benchmarks set up their process when they are imported.
_CODE = """
from benchmarks.__main__ import MODULES
from benchmarks.place import measurement_of
print(len([measurement_of(module) for module in MODULES.values()]))
"""


def test_each_name_of_a_benchmark_is_a_measurement() -> None:
    project = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _CODE], cwd=project, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 20
