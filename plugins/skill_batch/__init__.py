"""The Airflow side of the batches: the DAG factory, the tasks of a run, hooks and notifiers."""
