# Astro Runtime for Airflow 3.3. Its build triggers install packages.txt and requirements.txt and copy the project (without
# what .dockerignore names) to /usr/local/airflow, which is on PYTHONPATH: `include` imports as it does locally.
FROM astrocrpublic.azurecr.io/runtime:3.3-7

# Masks many secrets in one call (plugins/skill_batch/masking.py). The value is the name of a function.
# hadolint ignore=DL3064
ENV AIRFLOW__LOGGING__SECRET_MASK_ADAPTER=skill_batch.masking.parts
