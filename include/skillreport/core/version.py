"""The version of the batches. CHANGELOG.md lists the changes of each version.

The wheel, the row of a run in ``batch.execution_log``, its log, and the operators' board show it.
"""

VERSION = "0.1.0"
