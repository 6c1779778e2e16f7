"""The examples for Kubernetes and Ray Serve fit the project and the schemas of their APIs."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import sys
import types
import warnings
from pathlib import Path

import pytest
import typer
import yaml
from fastapi.testclient import TestClient

from samtailor.cli import app
from samtailor.serve.guard import OPEN
from samtailor.serve.run import GRACE

EXAMPLES = Path(__file__).parents[2] / "examples"
KUBERNETES = EXAMPLES / "kubernetes" / "serve.yaml"
OBJECTS = {one["kind"]: one for one in yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8"))}
POD = OBJECTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
CONTAINERFILE = (EXAMPLES.parent / "Containerfile").read_text(encoding="utf-8")


def options() -> dict:
    """The arguments of the container as samtailor itself reads them."""
    command = typer.main.get_command(app).commands["serve"]
    assert CONTAINER["args"][0] == "serve"
    return command.make_context("serve", CONTAINER["args"][1:]).params


@pytest.mark.parametrize("kind", sorted(OBJECTS))
def test_objects_are_valid_in_the_schema_of_kubernetes(kind):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)
    broken = {**OBJECTS[kind], "spec": {**OBJECTS[kind]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_objects_belong_together():
    assert set(OBJECTS) == {"Deployment", "Service", "PersistentVolumeClaim", "PodDisruptionBudget"}
    labels = POD["metadata"]["labels"]
    for selector in (
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()
    (port,) = CONTAINER["ports"]
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == set(volumes)
    claim = volumes["data"]["persistentVolumeClaim"]["claimName"]
    assert claim == OBJECTS["PersistentVolumeClaim"]["metadata"]["name"]
    assert OBJECTS["PodDisruptionBudget"]["spec"]["minAvailable"] < OBJECTS["Deployment"]["spec"]["replicas"]


def test_its_command_is_one_of_ours():
    params = options()
    assert params["host"] == "0.0.0.0"
    assert params["port"] == CONTAINER["ports"][0]["containerPort"]
    assert OBJECTS["Service"]["metadata"]["name"] in params["allow_host"]
    mounts = [Path(mount["mountPath"]) for mount in CONTAINER["volumeMounts"]]
    for folder in (params["adapters_root"], params["share"], Path("/cache"), Path("/tmp")):
        assert any(folder.is_relative_to(mount) for mount in mounts), "the root file system is read-only"
    secret = next(one for one in CONTAINER["env"] if one["name"] == "SAMTAILOR_TOKEN")["valueFrom"]["secretKeyRef"]
    comment = KUBERNETES.read_text(encoding="utf-8").partition("apiVersion")[0]
    assert f"secret generic {secret['name']} --from-literal={secret['key']}=" in comment
    threads = next(one for one in CONTAINER["env"] if one["name"] == "OMP_NUM_THREADS")["value"]
    assert int(threads) * params["workers"] == int(CONTAINER["resources"]["limits"]["cpu"])
    gigabytes = float(next(one for one in CONTAINER["env"] if one["name"] == "SAMTAILOR_CACHE_GB")["value"])
    claimed = OBJECTS["PersistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"]
    assert gigabytes * 1.25 < int(claimed.removesuffix("Gi")), "embeddings, and images beside them"


def test_probes_need_no_token_and_the_end_is_awaited():
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in OPEN
        assert CONTAINER[probe]["httpGet"]["port"] == CONTAINER["ports"][0]["name"]
    assert POD["spec"]["terminationGracePeriodSeconds"] > GRACE + 5


def test_the_user_is_that_of_the_container():
    context = POD["spec"]["securityContext"]
    assert f"--uid {context['runAsUser']} samtailor" in CONTAINERFILE
    assert context["runAsNonRoot"]
    assert context["fsGroup"] == context["runAsUser"]


def test_prometheus_finds_the_pods():
    (job,) = yaml.safe_load((EXAMPLES / "kubernetes" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    assert kept["__meta_kubernetes_pod_label_app_kubernetes_io_name"] in POD["metadata"]["labels"].values()
    assert kept["__meta_kubernetes_pod_container_port_name"] == CONTAINER["ports"][0]["name"]
    assert "credentials_file" in job["authorization"]


def test_the_configuration_of_ray_serve_fits_its_application():
    config = yaml.safe_load((EXAMPLES / "ray" / "serve.yaml").read_text(encoding="utf-8"))
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    source = (EXAMPLES.parent / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    body = ast.parse(source).body
    assert name in [target.id for node in body if isinstance(node, ast.Assign) for target in node.targets]
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    assert [one["name"] for one in application["deployments"]] == classes
    for variable in application["runtime_env"]["env_vars"]:
        assert variable in source or variable == "OMP_NUM_THREADS"
    if importlib.util.find_spec("ray") is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own use of pydantic
            from ray.serve.schema import ServeDeploySchema

            ServeDeploySchema.model_validate(config)


def test_the_application_of_ray_serve_answers(monkeypatch, tmp_path, base_folder, adapter_folder):
    """Without Ray, whose decorators are replaced: a replica calls `build` and serves what it returns."""
    bound = types.SimpleNamespace(bind=lambda: None)
    serve = types.SimpleNamespace(ingress=lambda build: lambda one: one, deployment=lambda one: bound)
    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(serve=serve))
    for name, value in {
        "BASE": str(base_folder),
        "ADAPTERS": f"disc={adapter_folder}",
        "SHARE": str(tmp_path / "shared"),
        "TOKEN": "a-long-token",
        "HOSTS": "service, other",
    }.items():
        monkeypatch.setenv(f"SAMTAILOR_{name}", value)
    module = runpy.run_path(str(EXAMPLES / "ray" / "serve_app.py"))
    for _ in range(2):  # replicas share the folder
        with TestClient(module["build"](), base_url="http://service") as client:
            assert client.get("/ready").status_code == 200
            assert client.get("/adapters").status_code == 401
            listed = client.get("/adapters", headers={"authorization": "Bearer a-long-token"}).json()
            assert [one["name"] for one in listed["adapters"]] == ["disc"]
