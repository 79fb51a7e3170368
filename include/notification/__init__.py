"""The notification family: how messages reach people, and the batches that send, retry, check and clean up."""
