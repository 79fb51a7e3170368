-- name: is_superuser
SELECT rolsuper
FROM pg_roles
WHERE rolname = current_user;

-- name: superuser_objects
-- Objects that another database's owner cannot create there, because only a superuser can. Dependent objects are not listed.
-- pg_restore --list shows a table's rows with class 0 and the table's number.
WITH own_extension AS (
    SELECT
        oid,
        extname,
        tableoid
    FROM pg_extension AS extension
    WHERE
        NOT EXISTS (
            SELECT FROM pg_available_extensions AS available
            INNER JOIN pg_available_extension_versions AS version
                ON available.name = version.name AND available.default_version = version.version
            WHERE available.name = extension.extname AND (version.trusted OR NOT version.superuser)
        )
),

created (class_id, object_id, kind, name) AS (
    SELECT tableoid, oid, 'EXTENSION', extname FROM own_extension
    UNION ALL
    SELECT 0::oid, member.objid, 'TABLE DATA', member.objid::regclass::text
    FROM own_extension
    INNER JOIN pg_depend AS member ON own_extension.tableoid = member.refclassid AND own_extension.oid = member.refobjid
    WHERE member.classid = 'pg_class'::regclass AND member.deptype = 'e'
    UNION ALL
    SELECT procedure.tableoid, procedure.oid, 'FUNCTION', procedure.proname
    FROM pg_proc AS procedure
    INNER JOIN pg_language AS language ON procedure.prolang = language.oid
    LEFT JOIN pg_aggregate AS aggregate ON procedure.oid = aggregate.aggfnoid
    WHERE
        -- Every aggregate has the language internal.
        NOT (language.lanpltrusted OR procedure.prokind = 'a')
        OR 'internal'::regtype IN (aggregate.aggtranstype, aggregate.aggmtranstype)
        OR procedure.proleakproof
        OR procedure.prosupport <> 0
        OR EXISTS (
            SELECT FROM unnest(procedure.proconfig) AS setting (assignment)
            INNER JOIN pg_settings AS parameter ON split_part(setting.assignment, '=', 1) = parameter.name
            WHERE parameter.context = 'superuser' AND NOT has_parameter_privilege(parameter.name, 'SET')
        )
    UNION ALL
    SELECT tableoid, oid, 'LANGUAGE', lanname FROM pg_language
    UNION ALL
    SELECT tableoid, oid, 'FOREIGN DATA WRAPPER', fdwname FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT tableoid, oid, 'EVENT TRIGGER', evtname FROM pg_event_trigger
    UNION ALL
    SELECT tableoid, oid, 'PUBLICATION', pubname
    FROM pg_publication
    WHERE puballtables OR oid IN (SELECT listed.pnpubid FROM pg_publication_namespace AS listed)
    UNION ALL
    SELECT tableoid, oid, 'ACCESS METHOD', amname FROM pg_am
    UNION ALL
    SELECT tableoid, oid, 'OPERATOR CLASS', opcname FROM pg_opclass
    UNION ALL
    SELECT tableoid, oid, 'OPERATOR FAMILY', opfname FROM pg_opfamily
    UNION ALL
    SELECT tableoid, oid, 'TEXT SEARCH PARSER', prsname FROM pg_ts_parser
    UNION ALL
    SELECT tableoid, oid, 'TEXT SEARCH TEMPLATE', tmplname FROM pg_ts_template
    UNION ALL
    SELECT tableoid, oid, 'CAST', format('%%s AS %%s', castsource::regtype, casttarget::regtype)
    FROM pg_cast
    WHERE castmethod = 'b' OR (castsource < %(first_oid)s::oid AND casttarget < %(first_oid)s::oid)
    UNION ALL
    SELECT tableoid, oid, 'TRANSFORM', trftype::regtype::text FROM pg_transform
)

SELECT
    created.class_id::bigint AS class_id,
    created.object_id::bigint AS object_id,
    created.kind,
    created.name
FROM created
WHERE
    created.object_id >= %(first_oid)s::oid
    -- The extension stands for its members.
    AND NOT EXISTS (
        SELECT FROM pg_depend AS member
        WHERE member.classid = created.class_id AND member.objid = created.object_id AND member.deptype = 'e'
    )
ORDER BY created.kind, created.name;

-- name: unreadable_large_objects
-- pg_read_all_data does not include large objects.
SELECT count(*)
FROM pg_largeobject_metadata AS object
INNER JOIN pg_roles AS login ON login.rolname = current_user
WHERE
    NOT login.rolsuper
    AND NOT current_setting('lo_compat_privileges')::boolean
    AND NOT pg_has_role(object.lomowner, 'USAGE')
    AND NOT EXISTS (
        SELECT FROM aclexplode(object.lomacl) AS granted
        WHERE
            granted.privilege_type = 'SELECT'
            AND CASE WHEN granted.grantee = 0 THEN true ELSE pg_has_role(granted.grantee, 'USAGE') END
    );
