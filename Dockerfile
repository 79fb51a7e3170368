# Astro Runtime for Airflow 3.3. Its build triggers install packages.txt and requirements.txt and copy the project (without
# what .dockerignore names) to /usr/local/airflow, which is on PYTHONPATH: `include` imports as it does locally.
FROM astrocrpublic.azurecr.io/runtime:3.3-7
