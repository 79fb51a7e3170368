"""What the batches have in common and speaks Airflow: the DAG factory, the flow of a run, hooks and notifiers."""
