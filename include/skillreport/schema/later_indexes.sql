-- Indexes on tables of schema batch that versions after 1.0.0 add, one statement each:
--
--     CREATE INDEX CONCURRENTLY name ON batch.table_name (column_name);
--
-- `upgrade` builds a missing one after the tables and views of its version. A revision drops an index that is no longer needed.

CREATE INDEX CONCURRENTLY tenant_outcome_reported ON batch.tenant_outcome (tenant_id) WHERE told_problems IS NOT null;
