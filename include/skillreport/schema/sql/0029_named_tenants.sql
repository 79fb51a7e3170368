-- Row-level security binds batch_tenant to the named tenants. Behind a connection pooler in transaction mode, the SET ROLE of
-- another connection can change the role of a session. The statement that names the tenants checks it, without a round trip more.
CREATE FUNCTION batch.name_tenants(tenant_ids text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'batch_tenant' THEN
        RAISE insufficient_privilege USING MESSAGE = format(
            'テナントの行はロール batch_tenant で処理しますが、このセッションのロールは %s です。接続 ''batch_tenant_db'' の接続プーラーが'
            'トランザクションモードでないことを確認してください', current_user);
    END IF;
    PERFORM set_config('batch.tenant_id', tenant_ids, true);
END;
$$;

COMMENT ON FUNCTION batch.name_tenants(text) IS
'Names the tenants of this transaction, several ids joined by chr(31). Refuses a session that does not act as batch_tenant.';

COMMENT ON FUNCTION batch.current_tenants() IS
'The tenants of this transaction, which batch.name_tenants() has named.';
