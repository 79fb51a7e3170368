"""What people did on a day, by tenant: the one pass over the application's logs that several batches count from."""
