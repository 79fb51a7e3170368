"""The operators' board: server-rendered pages inside Airflow's UI, for operators, accountants and support.

::

    application.py      the FastAPI app: routes, errors, static files; at_once.py limits its concurrent requests
    bodies.py           the bodies of POST requests: read after the check of a right, within limits
    access.py           the user's permissions on the board, from the permissions for DAGs
    airflow_api.py      Airflow's REST API, as the signed-in user
    database.py         the pool of read-only connections; contents.py reads message texts with another role
    store_access.py     the object store, within limits; archived_files.py reads invoices and renders them as images
    actions.py          the actions of the buttons; targets.py shows what an action works on
    runs.py             usual durations, progress, missed starts; failures.py groups failed tenants
    pages/              one module per page: its queries and its route; sql/ has the statements
    rendering.py        templates, languages, formats; charts.py draws; texts/ has the English texts

Only the API server imports this package, when it builds the app. Tasks import the plugin file only.
"""
