-- Of the transaction's tenants: the mail server has just let us in.
DELETE FROM batch.channel_circuit
WHERE channel = 'email';
