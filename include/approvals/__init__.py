"""Requests to approve what a batch has held, and their answers (``batch.approval_request``, ``batch.approval_item``).

Airflow shows a request to people ("Required Actions"). Here is what it lists, which text it has, and what was answered.
"""
