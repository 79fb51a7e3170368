"""Manual operations on the results of the batches: a package for each DAG, with its form, its work and its statements."""
