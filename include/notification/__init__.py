"""The notification family: the delivery of messages to people, and the batches that send, retry, check and clean up."""
