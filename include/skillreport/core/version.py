"""The version of the batches; CHANGELOG.md lists the changes.

It appears in the wheel, in ``batch.execution_log``, in each run's log and on the operators' board.
"""

VERSION = "1.0.0"
