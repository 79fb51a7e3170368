# Astro Runtime for Airflow 3.3. Its build triggers install packages.txt and requirements.txt and copy the project (without
# what .dockerignore names) to /usr/local/airflow, which is on PYTHONPATH: `include` imports as it does locally.
# For a build that never changes, add the digest: runtime:3.3-7@sha256:…
FROM astrocrpublic.azurecr.io/runtime:3.3-7

# pg_dump and pg_restore for BATCH-001, from the PostgreSQL project. The versions lie side by side, and BATCH-001 takes the one that fits
# the server: servers 15 and 16 need their own. The script of Debian's postgresql-common adds the project's repository and key. That
# repository keeps only the newest minor version, so only the major version is pinned.
USER 0
SHELL ["/bin/bash", "-o", "errexit", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends \
        postgresql-client-15=15.* postgresql-client-16=16.* postgresql-client-17=17.* postgresql-client-18=18.* \
    && rm -rf /var/lib/apt/lists/*
# hadolint ignore=DL3066
USER astro

# Masks many secrets in one call (plugins/skill_batch/masking.py). The value is the name of a function. Every process imports it.
# hadolint ignore=DL3064
ENV AIRFLOW__LOGGING__SECRET_MASK_ADAPTER=skill_batch.masking.parts

# The build fails if packages conflict with those of the Runtime, if a version of pg_dump is missing, or if a DAG file does not load.
RUN pip check \
    && for major in 15 16 17 18; do "/usr/lib/postgresql/$major/bin/pg_dump" --version | grep --fixed-strings " $major." || exit 1; done \
    && python -c "from airflow.dag_processing.dagbag import DagBag; b = DagBag('dags'); assert b.dags and not b.import_errors, b.import_errors"
