-- The number of the mapped task instance that works on the tenant. XCom carries the number, and the instance reads its tenants
-- here. Rows of earlier versions have none.
ALTER TABLE batch.tenant_outcome ADD COLUMN shard integer CHECK (shard >= 0);
COMMENT ON COLUMN batch.tenant_outcome.shard IS 'Counted from 0 in the run; all rows of a shard have the same part';
