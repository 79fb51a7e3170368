-- The host's later multi-tenant migration: people, departments and career plans get a tenant, employee codes and e-mail
-- addresses become unique per tenant. It runs after base.sql, on empty tables.
ALTER TABLE "MST_Employee" ADD COLUMN "tenant_id" TEXT NOT NULL;
ALTER TABLE "MST_Department" ADD COLUMN "tenant_id" TEXT NOT NULL;
ALTER TABLE "MST_CareerPlan" ADD COLUMN "tenant_id" TEXT NOT NULL;
ALTER TABLE "MST_UserAuth" ADD COLUMN "tenant_id" TEXT DEFAULT 'default-tenant';
ALTER TABLE "MST_UserRole" ADD COLUMN "tenant_id" TEXT DEFAULT 'default-tenant';
ALTER TABLE "MST_RolePermission" ADD COLUMN "tenant_id" TEXT DEFAULT 'default-tenant';

DROP INDEX "MST_Employee_employee_code_key";
DROP INDEX "MST_Employee_email_key";
CREATE UNIQUE INDEX "MST_Employee_tenant_id_employee_code_key" ON "MST_Employee" ("tenant_id", "employee_code");
CREATE UNIQUE INDEX "MST_Employee_tenant_id_email_key" ON "MST_Employee" ("tenant_id", "email");
