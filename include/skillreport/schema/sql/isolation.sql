-- Schema batch: what the batches own. Runs as batch_owner, which nobody logs in as; the schema itself is made by the deployer.
--
-- Every table is closed by row-level security (forced, so that its owner is bound too). Three kinds exist:
--   tenant tables     carry tenant_id; batch_tenant sees and writes the rows of the transaction's tenants only
--   platform tables   belong to the few cross-tenant steps; batch_tenant has no privilege on them at all
--   reference tables  hold facts that belong to no tenant; batch_tenant reads them, only the cross-tenant role writes them
--
-- The operators' board reads as batch_board, and only views (host_views/board.sql). They belong to batch_owner, so batch_owner
-- must see the rows of the tables that they read: these tables have the policy "board". Only batch_board may read such a view;
-- batch_tenant reads no table of ours through a view (a test looks at the catalogue).
--
-- In an installation that may delete, batch_cleanup has the views leaving_* of the application's tables, and nothing else
-- (include/skillreport/schema/leaving.py).
--
-- The clean-up (BATCH-002) finds old rows by their time, with the indexes ..._by_date and ..._by_time. BRIN is no help: the pages
-- of deleted rows get new ones, so soon every range of pages has an old and a new row.

GRANT USAGE ON SCHEMA batch TO batch_tenant, batch_platform, batch_board;

CREATE FUNCTION batch.current_tenants() RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
-- A setting that was local to a finished transaction reads as '' afterwards, not as NULL: both mean "no tenant", no rows.
-- Several tenants (a shard) are joined by the unit separator, which no tenant id may hold.
RETURN string_to_array(nullif(current_setting('batch.tenant_id', true), ''), chr(31));
COMMENT ON FUNCTION batch.current_tenants() IS
'The tenants of this transaction, which batch.name_tenants() has named.';

-- Row-level security binds batch_tenant to the named tenants. Behind a connection pooler in transaction mode, the SET ROLE of
-- another connection can change the role of a session. The statement that names the tenants checks it, without a round trip more.
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

-- The tables of the two other kinds are open to the cross-tenant role as well.
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
