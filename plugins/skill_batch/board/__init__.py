"""The operators' board: server-rendered pages inside Airflow's UI, for operators, accountants and support.

::

    application.py      the FastAPI app: routes, errors, static files; at_once.py limits its concurrent requests
    access.py           what a user may see and do, by the permissions for DAGs
    airflow_api.py      Airflow's REST API, as the signed-in user
    database.py         the pool of read-only connections; contents.py reads texts of messages with another role
    store_access.py     the object store, within limits; archived_files.py opens invoices, and draws their sheets as images
    actions.py          what the buttons start; targets.py shows what an action works on
    runs.py             usual durations, progress, missed starts; failures.py groups failed tenants
    pages/              one module per page: its queries and its route; sql/ has the statements
    rendering.py        templates, languages, formats; charts.py draws; texts/ has the English form of the texts

The API server imports this package when it builds the app. Tasks import the plugin file only.
"""
