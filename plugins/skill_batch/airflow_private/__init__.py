"""Everything that this product uses from Airflow outside its public interface. No other module imports a private name.

The public names are ``airflow.sdk.__all__`` and ``airflow.sdk.log.mask_secret`` (Task SDK 1.3, API reference), exceptions,
``AirflowPlugin``, ``RuntimeTaskInstanceProtocol``, and the hooks and operators of providers (Airflow 3.3, page "Public Interface for
Airflow 3.0+"). Any other name may move in a minor release. ``tests/plugins/test_airflow_private.py`` and ``make matrix`` then report
it.

Each private name, why no public name replaces it, and its test:

- ``airflow.api_fastapi.app.get_auth_manager``: plugins need the auth manager. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.base_auth_manager.COOKIE_NAME_JWT_TOKEN``: the user's token. Test: ``board/test_operations.py``
- ``airflow.api_fastapi.auth.managers.models.base_user.BaseUser``: the type of a user. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.AccessView``: for the auth manager. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.DagAccessEntity``: as above. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.DagDetails``: as above. Test: ``board/test_access.py``
- ``airflow.api_fastapi.core_api.security.get_user``: a plugin's app has no login of its own. Test: ``board/test_access.py``
- ``airflow.listeners.hookimpl``: marks the functions of a listener. Test: ``board/test_marked_runs.py``
- ``airflow.models.DagRun``: earlier runs set a deadline. Test: ``dags/test_deadline_references.py``
- ``airflow.models.dag.DagModel``: the auth manager needs the team of a DAG. Test: ``board/test_access.py``
- ``airflow.models.log.Log``: no API writes the audit log. Test: ``board/test_attention.py``
- ``airflow.sdk.definitions.deadline.BaseDeadlineReference``: public since 3.3.2. Test: ``dags/test_deadline_references.py``
- ``airflow.sdk.definitions.deadline.deadline_reference``: public since 3.3.2. Test: ``dags/test_deadline_references.py``
- ``airflow.sdk.exceptions.AirflowRuntimeError``: reports an error of the API server to a task. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.exceptions.ErrorType``: distinguishes an outage from a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.ErrorResponse``: the answer to a rejected request. Test: ``plugins/test_approvals.py``
- ``airflow.sdk.execution_time.comms.GetConnection``: ``BaseHook`` reports an outage as a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.GetPreviousDagRun``: ``ti`` has only its own DAG. Test: ``dags/test_tenant_monitoring_dag.py``
- ``airflow.sdk.execution_time.comms.GetVariable``: ``Variable`` reports an outage as a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.PreviousDagRunResult``: its answer. Test: ``dags/test_tenant_monitoring_dag.py``
- ``airflow.sdk.execution_time.comms.TriggerDagRun``: the operator sends it after the task. Test: ``plugins/test_approvals.py``
- ``airflow.sdk.execution_time.secrets.execution_api.ExecutionAPISecretsBackend``: hides an outage. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded``: the secrets managers. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.task_runner``: has ``SUPERVISOR_COMMS``, which calls the API server. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.task_runner.RuntimeTaskInstance``: callbacks have no ``ti``. Test: ``plugins/test_unreported_run.py``
- ``airflow.sdk.execution_time.timeout.timeout``: a callback must end in time. Test: ``plugins/test_unreported_run.py``
- ``airflow.sdk.observability.stats.Stats``: Airflow's own metrics client. Test: ``plugins/test_metrics.py``
- ``airflow.utils.session.create_session``: the audit log's database. Test: ``board/test_message_search.py``
- ``airflow.utils.types.DagRunTriggeredByType``: identifies runs of ``airflow dags test``. Test: ``dags/test_deadline_references.py``
"""
