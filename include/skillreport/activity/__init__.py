"""The users' activity of a day, by tenant. Two batches count it from the application's logs with the same statement."""
