"""Requests to approve what a batch has held, and their answers (``batch.approval_request``, ``batch.approval_item``).

Airflow shows a request to users ("Required Actions"). This package contains the items of a request, its text and the answer.
"""

# The options of an answer. The first one approves. DAG files load them.
APPROVE, HOLD = "承認する", "保留のままにする"

# The options about the messages of a batch that was paused.
SEND_ALL, SEND_NEW, DISCARD_ALL = "すべて送る", "新しいものだけ送る（ほかは破棄）", "すべて破棄する"

# Messages up to this age in hours are new, unless the answer states another age.
NEW_HOURS = 24
