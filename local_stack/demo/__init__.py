"""``make demo``: run all batches on the demo data, show a summary, and build a page with what came out.

::

    command.py     the command: preparation, runs, summary, page
    runs.py        the plan: the runs, what each needs, and how it must end
    processes.py   start the runs: worker processes, and one real ``airflow dags test``
    worker.py      the program of a worker process: it imports Airflow once and runs DAGs
    details.py     what a run has recorded, as a text with tables
    summary.py     progress lines and the summary table, for a terminal of 100 columns
    page.py        .local/demo/index.html; page.html.jinja is its template

The command writes the page, the details of each run as a text file, and the logs to ``.local/demo``. The batches write their files to
``.local/storage``, and the stand-ins record what arrives in ``.local/arrived.jsonl``.
"""
