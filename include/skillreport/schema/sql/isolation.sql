-- Schema batch. Runs as batch_owner, a role without login. The deployer creates the schema itself.
--
-- Every table has forced row-level security, which also applies to its owner. There are three kinds:
--   tenant tables     have tenant_id; batch_tenant sees and writes only rows of the transaction's tenants
--   platform tables   for cross-tenant steps; batch_tenant has no privileges on them
--   reference tables  hold facts without a tenant; batch_tenant reads them, only the cross-tenant role writes them
--
-- The operators' board reads as batch_board, and only views (host_views/board.sql). Their owner batch_owner must see the rows of
-- the underlying tables, so these have the policy "board". Only batch_board may read such a view. batch_tenant reads none of our
-- tables through a view (a test checks this).
--
-- In an installation that may delete, batch_cleanup has only the views leaving_* of the application's tables
-- (include/skillreport/schema/leaving.py).
--
-- The clean-up (BATCH-002) finds old rows by time, with the indexes ..._by_date and ..._by_time. BRIN does not help: new rows
-- fill the pages of deleted rows, so every page range soon has old and new rows.

GRANT USAGE ON SCHEMA batch TO batch_tenant, batch_platform, batch_board;

CREATE FUNCTION batch.current_tenants() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
-- A setting local to a finished transaction reads as '', not NULL. Both mean "no tenant" and no rows. The unit separator, which
-- no tenant id may contain, joins the tenants of a shard.
RETURN string_to_array(nullif(current_setting('batch.tenant_id', true), ''), chr(31));
COMMENT ON FUNCTION batch.current_tenants() IS
'The tenants of this transaction, which batch.name_tenants() has named.';

-- Row-level security limits batch_tenant to the named tenants. Behind a pooler in transaction mode, another connection's SET ROLE
-- can change a session's role. The statement that names the tenants checks the role without an extra round trip.
CREATE FUNCTION batch.name_tenants(tenant_ids text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_user NOT IN ('batch_tenant', 'batch_cleanup') THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'テナントの行はロール batch_tenant か batch_cleanup で処理しますが、このセッションのロールは %s です。'
            '接続 ''skill_batch_tenant_db'' か ''skill_batch_cleanup_db'' の接続プーラーが'
            'トランザクションモードでないことを確認してください', current_user);
    END IF;
    PERFORM set_config('batch.tenant_id', tenant_ids, true);
END;
$$;
COMMENT ON FUNCTION batch.name_tenants(text) IS
'Names the tenants of this transaction, several ids joined by chr(31). Refuses a session that acts neither as batch_tenant nor '
'as batch_cleanup.';

CREATE PROCEDURE batch.make_platform_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('CREATE POLICY platform ON %s TO batch_platform USING (true) WITH CHECK (true)', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO batch_platform', relation);
END;
$$;
REVOKE EXECUTE ON PROCEDURE batch.make_platform_table(regclass) FROM public;

-- The cross-tenant role also has access to the other two kinds of tables.
CREATE PROCEDURE batch.make_tenant_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    CALL batch.make_platform_table(relation);
    EXECUTE format(
        'CREATE POLICY own_tenants ON %s TO batch_tenant '
        'USING (tenant_id = ANY ((SELECT batch.current_tenants())::text[])) '
        'WITH CHECK (tenant_id = ANY ((SELECT batch.current_tenants())::text[]))', relation);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO batch_tenant', relation);
END;
$$;
REVOKE EXECUTE ON PROCEDURE batch.make_tenant_table(regclass) FROM public;

CREATE PROCEDURE batch.make_reference_table(relation regclass)
LANGUAGE plpgsql AS $$
BEGIN
    CALL batch.make_platform_table(relation);
    EXECUTE format('CREATE POLICY readable ON %s FOR SELECT TO batch_tenant USING (true)', relation);
    EXECUTE format('GRANT SELECT ON %s TO batch_tenant', relation);
END;
$$;
REVOKE EXECUTE ON PROCEDURE batch.make_reference_table(regclass) FROM public;
