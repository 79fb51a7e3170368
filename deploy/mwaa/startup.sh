#!/usr/bin/env bash
# MWAA sources this file in every container before it installs requirements.txt. Its exports become Airflow's environment.
export SKILL_BATCH_WORKER_SLOTS=5
# Delete this line if you have no settings of your own: a run whose settings file is missing fails. Do not test here whether the file exists:
# this script runs before MWAA copies the DAG files.
export SKILL_BATCH_SETTINGS=/usr/local/airflow/dags/settings.yaml

# pg_dump and pg_restore for BATCH-001: set the major version of your server. Servers 15 and 16 need their own. A failure must not stop the
# worker: BATCH-001 then fails with the reason, and the others run. The class mw1.micro has one container for all, called hybrid.
postgresql_major=17
if [[ "${MWAA_AIRFLOW_COMPONENT:-}" =~ ^(worker|hybrid)$ ]]; then
    sudo dnf install --assumeyes "postgresql$postgresql_major" || echo "startup.sh: no PostgreSQL client, BATCH-001 will refuse" >&2
fi
