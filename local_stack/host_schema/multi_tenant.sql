-- The host's later multi-tenant migration, with its types: people, departments, accounts and career plans get a tenant, employee
-- codes and e-mail addresses become unique per tenant, tenants and their settings get further columns. It runs after base.sql, on
-- empty tables.
ALTER TABLE "MST_Employee" ADD COLUMN "tenant_id" VARCHAR(255) NOT NULL;
ALTER TABLE "MST_Department" ADD COLUMN "tenant_id" VARCHAR(255) NOT NULL;
ALTER TABLE "MST_CareerPlan" ADD COLUMN "tenant_id" VARCHAR(255) NOT NULL;
ALTER TABLE "MST_UserAuth" ADD COLUMN "tenant_id" VARCHAR(255) DEFAULT 'default-tenant';
ALTER TABLE "MST_UserRole" ADD COLUMN "tenant_id" VARCHAR(255) DEFAULT 'default-tenant';
ALTER TABLE "MST_RolePermission" ADD COLUMN "tenant_id" VARCHAR(255) DEFAULT 'default-tenant';

ALTER TABLE "MST_Tenant"
ADD COLUMN "company_info" JSONB,
ADD COLUMN "contact_person" VARCHAR(255),
ADD COLUMN "contact_phone" VARCHAR(255),
ADD COLUMN "billing_plan_id" VARCHAR(255),
ADD COLUMN "user_limit" INTEGER DEFAULT 100,
ADD COLUMN "storage_limit_gb" INTEGER DEFAULT 10,
ADD COLUMN "monthly_fee" NUMERIC(10, 2),
ADD COLUMN "payment_method" VARCHAR(255),
ADD COLUMN "payment_status" VARCHAR(255) DEFAULT 'ACTIVE',
ADD COLUMN "features_enabled" JSONB,
ADD COLUMN "api_key" VARCHAR(255) UNIQUE,
ADD COLUMN "webhook_url" VARCHAR(255),
ADD COLUMN "custom_logo_url" VARCHAR(255),
ADD COLUMN "theme_color" VARCHAR(255),
ADD COLUMN "security_settings" JSONB,
ADD COLUMN "notification_settings" JSONB,
ADD COLUMN "tenant_status" VARCHAR(255) DEFAULT 'ACTIVE',
ADD COLUMN "activation_date" TIMESTAMP,
ADD COLUMN "suspension_date" TIMESTAMP,
ADD COLUMN "suspension_reason" TEXT,
ADD COLUMN "last_login_at" TIMESTAMP,
ADD COLUMN "total_users" INTEGER DEFAULT 0,
ADD COLUMN "total_storage_used_gb" NUMERIC(10, 2) DEFAULT 0,
ADD COLUMN "metadata" JSONB,
ADD COLUMN "domain" VARCHAR(255) UNIQUE;

ALTER TABLE "MST_TenantSettings"
ADD COLUMN "setting_type" VARCHAR(255),
ADD COLUMN "description" TEXT,
ADD COLUMN "allowed_values" TEXT[],
ADD COLUMN "validation_rule" TEXT,
ADD COLUMN "requires_restart" BOOLEAN DEFAULT false,
ADD COLUMN "is_system_setting" BOOLEAN DEFAULT false;

DROP INDEX "MST_Employee_employee_code_key";
DROP INDEX "MST_Employee_email_key";
CREATE UNIQUE INDEX "MST_Employee_tenant_id_employee_code_key" ON "MST_Employee" ("tenant_id", "employee_code");
CREATE UNIQUE INDEX "MST_Employee_tenant_id_email_key" ON "MST_Employee" ("tenant_id", "email");
