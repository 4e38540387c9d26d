"""Each file in serving/ against the schema, the message or the parser of the tool that reads it."""

import json
import shutil
import subprocess
import sysconfig
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tensorflow_serving.config import model_server_config_pb2

SERVING = Path(__file__).parents[2] / "serving"
CONFIG = SERVING / "config"
MODELS_CONFIGS = [CONFIG / "models.config", *sorted((SERVING / "rollout").glob("*.config"))]
MANIFESTS = sorted((SERVING / "kubernetes").rglob("*.yaml"))

# tensorflow-serving-api 2.21 lacks these three messages. Their fields, as TF Serving's sources
# have them; numbers do not matter for the text format.
_INT, _TEXT, _INTS = "Int64Value", "StringValue", "int64s"
MESSAGES = {
    # tensorflow_serving/servables/tensorflow/session_bundle_config.proto
    "BatchingParameters": {
        "max_batch_size": _INT,
        "batch_timeout_micros": _INT,
        "max_enqueued_batches": _INT,
        "num_batch_threads": _INT,
        "thread_pool_name": _TEXT,
        "allowed_batch_sizes": _INTS,
        "pad_variable_length_inputs": "bool",
    },
    # tensorflow_serving/config/monitoring_config.proto
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    # tensorflow_serving/config/ssl_config.proto
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
}

# prometheus/config/config.go and model/rulefmt/rulefmt.go refuse keys that they do not know; of
# those they know, here are the ones that our files use.
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def exactly(required, optional=()):
    """A schema of an object without other keys."""
    return {
        "type": "object",
        "properties": {**required, **dict(optional)},
        "required": list(required),
        "additionalProperties": False,
    }


def listed(item):
    return {"type": "array", "items": item, "minItems": 1}


PROMETHEUS = exactly(
    {
        "global": exactly({"scrape_interval": DURATION, "evaluation_interval": DURATION}),
        "rule_files": listed({"type": "string"}),
        "scrape_configs": listed(
            exactly(
                {
                    "job_name": {"type": "string"},
                    "metrics_path": {"type": "string", "pattern": "^/"},
                    "static_configs": listed(
                        exactly(
                            {"targets": listed({"type": "string", "pattern": "^[^/]+:[0-9]+$"})}
                        )
                    ),
                }
            )
        ),
    }
)
ALERT = exactly(
    {
        "alert": {"type": "string"},
        "expr": {"type": "string"},
        "labels": STRINGS,
        "annotations": STRINGS,
    },
    {"for": DURATION},
)
ALERTS = exactly({"groups": listed(exactly({"name": {"type": "string"}, "rules": listed(ALERT)}))})


def tf_serving_message(name):
    """The class of one of `MESSAGES`."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="transcribed.proto",
        package="transcribed",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for number, (field_name, kind) in enumerate(fields.items(), 1):
            field = message.field.add(name=field_name, number=number, label=kinds.LABEL_OPTIONAL)
            if kind == _INTS:
                field.label, field.type = kinds.LABEL_REPEATED, kinds.TYPE_INT64
            elif kind in ("bool", "string"):
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
            else:
                field.type = kinds.TYPE_MESSAGE
                package = "google.protobuf" if kind in (_INT, _TEXT) else "transcribed"
                field.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"transcribed.{name}"))


def read_text_proto(path, message):
    return text_format.Parse(path.read_text(), message)


def program(name, *arguments, text=None):
    """Runs a tool of the development extra without a network."""
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:1" for scheme in ("http", "https")}
    path = Path(sysconfig.get_path("scripts")) / name
    return subprocess.run(
        [path, *map(str, arguments)],
        env={"PATH": str(path.parent), "HOME": "/nonexistent", **nowhere},
        capture_output=True,
        text=True,
        input=text,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("path", MODELS_CONFIGS, ids=lambda path: path.name)
def test_models_config(path):
    config = read_text_proto(path, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.model_platform == "tensorflow"
    # A relative path would be looked for in the server's working directory.
    assert model.base_path.startswith("/")


@pytest.mark.parametrize(
    "path", sorted(CONFIG.glob("batching_parameters*.txt")), ids=lambda p: p.name
)
def test_batching_parameters(path):
    batching = read_text_proto(path, tf_serving_message("BatchingParameters")())
    assert batching.num_batch_threads.value >= 1
    sizes = list(batching.allowed_batch_sizes)
    # TF Serving refuses to load a model otherwise (bundle_factory_util.cc).
    assert sizes == sorted(set(sizes))
    assert not sizes or sizes[-1] == batching.max_batch_size.value


def test_monitoring_config():
    message = tf_serving_message("MonitoringConfig")()
    config = read_text_proto(CONFIG / "monitoring.config", message)
    assert config.prometheus_config.enable


def test_the_transcribed_messages_refuse_what_they_do_not_know():
    for name in ("BatchingParameters", "MonitoringConfig", "SSLConfig"):
        with pytest.raises(text_format.ParseError, match="no field named"):
            text_format.Parse("max_batch: 1", tf_serving_message(name)())


def test_compose_files():
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = program("check-jsonschema", *schema, *sorted(SERVING.glob("compose*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = "services: {serving: {imagine: x}}"
    done = program("check-jsonschema", *schema, "--default-filetype", "yaml", "-", text=wrong)
    assert done.returncode == 1 and "imagine" in done.stdout


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(SERVING)))
# The oldest that knows all that is used, and the newest that the checker knows.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_manifests(path, version):
    resources = list(yaml.safe_load_all(path.read_text()))
    assert resources
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_kubernetes_manifests_would_be_refused_for_a_wrong_key():
    resource = yaml.safe_load((SERVING / "kubernetes" / "deployment.yaml").read_text())
    container = resource["spec"]["template"]["spec"]["containers"][0]
    container["readynessProbe"] = container.pop("readinessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(resource, "1.29", strict=True)


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_certificates_in_pods(version):
    pods = yaml.safe_load((SERVING / "kubernetes" / "deployment.yaml").read_text())
    before = str(pods)
    for step in yaml.safe_load((SERVING / "tls" / "kubernetes.patch.yaml").read_text()):
        *path, last = step["path"].strip("/").split("/")
        assert (step["op"], last) == ("add", "-")
        place = pods
        for key in path:
            place = place[int(key) if isinstance(place, list) else key]
        place.append(step["value"])
    kubernetes_validate.validate(pods, version, strict=True)
    spec = pods["spec"]["template"]["spec"]
    container, volume = spec["containers"][0], spec["volumes"][-1]
    assert container["args"][-1] == "--ssl_config_file=/tls/ssl.config"
    assert container["volumeMounts"][-1] == {
        "name": volume["name"],
        "mountPath": "/tls",
        "readOnly": True,
    }
    assert "/tls" not in before
    page = (SERVING / "README.md").read_text()
    assert f"secret generic {volume['secret']['secretName']} " in page
    assert f"patch deployment {pods['metadata']['name']} " in page


def test_dockerfile():
    done = program("hadolint", SERVING / "Dockerfile")
    assert done.returncode == 0, done.stdout
    assert program("hadolint", "-", text="FROM tensorflow/serving\nRUNN x").returncode != 0


def test_prometheus_configuration():
    jsonschema.validate(
        yaml.safe_load((SERVING / "monitoring/prometheus.yml").read_text()), PROMETHEUS
    )
    alerts = yaml.safe_load((SERVING / "monitoring/alerts.yml").read_text())
    jsonschema.validate(alerts, ALERTS)
    for group in alerts["groups"]:
        for rule in group["rules"]:
            promql_parser.parse(rule["expr"])


def lost(given, kept, path=""):
    """Paths of what `given` has and `kept` has not."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}/{key}"
            else:
                yield from lost(value, kept[key], f"{path}/{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from lost(value, kept[index], f"{path}/{index}")
    elif given != kept:
        yield path


def test_grafana_dashboard():
    """Grafana's own types drop what they do not know: nothing of ours may be lost in them."""
    register_default_plugins()
    path = SERVING / "monitoring/grafana/dashboards/tf_serving.json"
    for wrong in (False, True):
        board = json.loads(path.read_text())
        if wrong:
            board["panels"][0]["targets"][0]["expression"] = "x"
        kept = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
        expected = ["/panels/0/targets/0/expression"] if wrong else []
        assert list(lost(board, kept)) == expected
    for panel in board["panels"]:
        for target in panel["targets"]:
            # Grafana puts a duration for its variable.
            promql_parser.parse(target["expr"].replace("$__rate_interval", "1m"))


@pytest.mark.parametrize("status", [200, 404])
def test_health_check_of_compose(status):
    """The script on a server that responds as TF Serving does with and without the version."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"error": "200"}')

        def log_message(self, *_):
            pass

    requested = []
    services = yaml.safe_load((SERVING / "compose.yaml").read_text())["services"]
    _, *command, script = services["serving"]["healthcheck"]["test"]
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = script.replace("8501", str(server.server_port))
        done = subprocess.run([*command, here], timeout=10, check=False)
        server.shutdown()
    assert requested == ["/v1/models/faces/labels/stable/metadata"]
    assert (done.returncode == 0) == (status == 200)


def test_ssl_config(tmp_path):
    """What the script makes for --ssl_config_file is an SSLConfig with the texts of the files."""
    if shutil.which("openssl") is None:
        pytest.skip("not checked: certificates, without the program openssl; install it")
    script = SERVING / "tls" / "make_certificates.sh"
    subprocess.run([script, tmp_path, "localhost"], capture_output=True, timeout=60, check=True)
    config = read_text_proto(tmp_path / "ssl.config", tf_serving_message("SSLConfig")())
    assert config.server_key == (tmp_path / "server.key").read_text()
    assert config.server_cert == (tmp_path / "server.crt").read_text()
    assert config.custom_ca == (tmp_path / "ca.crt").read_text()
    assert config.client_verify
