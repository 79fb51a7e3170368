"""All that this product uses of Airflow outside its public interface. No other module imports a private name.

Public are ``airflow.sdk.__all__`` and ``airflow.sdk.log.mask_secret`` (Task SDK 1.3, API reference), exceptions, ``AirflowPlugin``,
``RuntimeTaskInstanceProtocol``, and the hooks and operators of providers (Airflow 3.3, page "Public Interface for Airflow 3.0+"). Any other
name may move in a minor release. ``tests/plugins/test_airflow_private.py`` then names it, and so does each cell of ``make matrix``.

The private names, why no public one does, and a test of what they do:

- ``airflow.api_fastapi.app.get_auth_manager``: a plugin gets the auth manager in no other way. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.base_auth_manager.COOKIE_NAME_JWT_TOKEN``: the user's own token. Test: ``board/test_operations.py``
- ``airflow.api_fastapi.auth.managers.models.base_user.BaseUser``: the type of a user. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.AccessView``: an argument of the auth manager. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.DagAccessEntity``: the same. Test: ``board/test_access.py``
- ``airflow.api_fastapi.auth.managers.models.resource_details.DagDetails``: the same. Test: ``board/test_access.py``
- ``airflow.api_fastapi.core_api.security.get_user``: a plugin's app has no login of its own. Test: ``board/test_access.py``
- ``airflow.listeners.hookimpl``: marks the functions of a listener. Test: ``board/test_marked_runs.py``
- ``airflow.models.DagRun``: a deadline is computed from earlier runs. Test: ``dags/test_deadline_references.py``
- ``airflow.models.dag.DagModel``: the auth manager asks for the team of a DAG. Test: ``board/test_access.py``
- ``airflow.models.log.Log``: the audit log has no API to write to, and only administrators read it. Test: ``board/test_attention.py``
- ``airflow.sdk.definitions.deadline.BaseDeadlineReference``: public since 3.3.2 only. Test: ``dags/test_deadline_references.py``
- ``airflow.sdk.definitions.deadline.deadline_reference``: the same. Test: ``dags/test_deadline_references.py``
- ``airflow.sdk.exceptions.AirflowRuntimeError``: what a task gets if the API server fails. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.exceptions.ErrorType``: tells an outage from a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.ErrorResponse``: the API server's answer to a refused request. Test: ``plugins/test_approvals.py``
- ``airflow.sdk.execution_time.comms.GetConnection``: ``BaseHook`` reports an outage as a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.GetPreviousDagRun``: ``ti`` asks for its own DAG. Test: ``dags/test_tenant_monitoring_dag.py``
- ``airflow.sdk.execution_time.comms.GetVariable``: ``Variable`` reports an outage as a missing value. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.comms.PreviousDagRunResult``: its answer. Test: ``dags/test_tenant_monitoring_dag.py``
- ``airflow.sdk.execution_time.comms.TriggerDagRun``: the operator sends it after a task's code. Test: ``plugins/test_approvals.py``
- ``airflow.sdk.execution_time.secrets.execution_api.ExecutionAPISecretsBackend``: hides an outage. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.supervisor.ensure_secrets_backend_loaded``: the secrets managers. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.task_runner``: has the way to the API server, ``SUPERVISOR_COMMS``. Test: ``plugins/test_lookup.py``
- ``airflow.sdk.execution_time.task_runner.RuntimeTaskInstance``: callbacks have no ``ti``. Test: ``plugins/test_unreported_run.py``
- ``airflow.sdk.execution_time.timeout.timeout``: a callback must end in time. Test: ``plugins/test_unreported_run.py``
- ``airflow.sdk.observability.stats.Stats``: Airflow's own metrics client. Test: ``plugins/test_metrics.py``
- ``airflow.utils.session.create_session``: the audit log's database. Test: ``board/test_message_search.py``
- ``airflow.utils.types.DagRunTriggeredByType``: ``airflow dags test`` is no usual run. Test: ``dags/test_deadline_references.py``
"""
