"""The files in serving/ are about one server: their names, ports, paths and limits agree."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
CONFIG = SERVING / "config"
MODEL = "faces"
GRPC, REST = 8500, 8501

# Those flags of TF Serving that serving/ may use (tensorflow_serving/model_servers/main.cc).
FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "file_system_poll_wait_seconds",
    "grpc_channel_arguments",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "port",
    "rest_api_port",
    "ssl_config_file",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
}

# What TF Serving exports, and the labels: tensorflow_serving/servables/tensorflow/util.cc,
# tensorflow_serving/batching/batching_session.cc and batching_util.h, tensorflow/cc/saved_model/
# loader.cc; slashes become colons in tensorflow_serving/util/prometheus_exporter.cc.
COUNTERS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
}
HISTOGRAMS = {
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    ":tensorflow:serving:runtime_latency": {"model_name", "API", "runtime"},
    ":tensorflow:serving:batching_session:queuing_latency": {"thread_pool_name"},
    ":tensorflow:serving:batching_session:input_batch_size": set(),
    ":tensorflow:serving:batching_session:processed_batch_size": set(),
}
METRICS = {
    **COUNTERS,
    **{
        name + part: labels
        for name, labels in HISTOGRAMS.items()
        for part in ("_bucket", "_sum", "_count")
    },
    "up": {"job", "instance"},
}


def load(path):
    documents = list(yaml.safe_load_all((SERVING / path).read_text()))
    return documents[0] if len(documents) == 1 else documents


def flags(words):
    return dict(word.removeprefix("--").split("=", 1) for word in words)


def dockerfile(folder):
    # The parser writes to where it is pointed, so it gets a copy.
    (folder / "Dockerfile").write_text((SERVING / "Dockerfile").read_text())
    return DockerfileParser(str(folder))


def container(path):
    (found,) = load(path)["spec"]["template"]["spec"]["containers"]
    return found


DEPLOYMENTS = ("kubernetes/deployment.yaml", "kubernetes/gpu/deployment.yaml")
COMPOSES = ("compose.yaml", "compose.tls.yaml", "compose.gpu.yaml")


@pytest.fixture
def image(tmp_path):
    """The Dockerfile: its base image, and the flags that it starts TF Serving with."""
    parser = dockerfile(tmp_path)
    found = {step["instruction"]: step["value"] for step in parser.structure}
    entry = json.loads(found["ENTRYPOINT"])
    assert entry[0] == "tensorflow_model_server"
    return parser.baseimage, flags(entry[1:]), flags(json.loads(found["CMD"])), parser


def model_of(path):
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def test_one_version_of_tf_serving(image):
    base, _, _, _ = image
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", base)
    assert load("compose.yaml")["services"]["serving"]["image"] == base
    assert load("compose.gpu.yaml")["services"]["serving"]["image"] == f"{base}-gpu"
    version = base.split(":")[1]
    for path in (SERVING / "Dockerfile", SERVING / "kubernetes/gpu/deployment.yaml"):
        assert set(re.findall(r"TF_SERVING=([\w.-]*\w)", path.read_text())) <= {
            version,
            f"{version}-gpu",
        }
    # Whoever reads the page pulls the same one.
    for page in (SERVING / "README.md", ROOT / "docs" / "serving.md"):
        found = re.findall(r"tensorflow/serving:([\w.-]+)", page.read_text())
        assert found and set(found) <= {version, f"{version}-gpu"}, page


def test_images_of_pods_are_what_the_dockerfile_says_to_build():
    built = re.findall(r"--tag (\S+)", (SERVING / "Dockerfile").read_text())
    assert sorted(container(path)["image"] for path in DEPLOYMENTS) == sorted(built)


def test_the_model_and_its_place(image):
    parser = image[3]
    copied = dict(
        step["value"].split() for step in parser.structure if step["instruction"] == "COPY"
    )
    assert copied == {"serving/config": "/config", f"saved_models/{MODEL}": f"/models/{MODEL}"}
    assert all((ROOT / source).exists() for source in copied if source.startswith("serving"))
    let_in = (SERVING / "Dockerfile.dockerignore").read_text().split()
    assert let_in[0] == "*" and {line.removeprefix("!") for line in let_in[1:]} == set(copied)
    volumes = load("compose.yaml")["services"]["serving"]["volumes"]
    mounted = {target: source for source, target, _ in (v.split(":") for v in volumes)}
    assert (SERVING / mounted["/config"]).samefile(CONFIG)
    for path in [CONFIG / "models.config", *(SERVING / "rollout").iterdir()]:
        model = model_of(path)
        assert model.name == MODEL
        assert model.base_path == f"/models/{MODEL}"
        assert mounted[model.base_path] == f"../saved_models/{MODEL}"


def test_compose_files_differ_in_what_they_are_about():
    base = flags(load("compose.yaml")["services"]["serving"]["command"])
    tls = flags(load("compose.tls.yaml")["services"]["serving"]["command"])
    gpu = flags(load("compose.gpu.yaml")["services"]["serving"]["command"])
    assert tls == {**base, "ssl_config_file": "/tls/ssl.config"}
    assert gpu == {**base, "batching_parameters_file": "/config/batching_parameters.gpu.txt"}
    (volume,) = load("compose.tls.yaml")["services"]["serving"]["volumes"]
    assert volume == "./tls/certificates/ssl.config:/tls/ssl.config:ro"
    ignored = (ROOT / ".gitignore").read_text().split()
    assert "/serving/tls/certificates/" in ignored, "private keys may get into git"


def all_flags(image):
    """Of every way to start TF Serving, its flags."""
    yield {**image[1], **image[2]}
    for path in COMPOSES:
        yield flags(load(path)["services"]["serving"]["command"])
    for path in DEPLOYMENTS:
        # Arguments of a container take the place of CMD.
        yield {**image[1], **flags(container(path)["args"])}


def test_every_flag_and_file_is_there(image):
    for given in all_flags(image):
        assert set(given) <= FLAGS
        assert int(given["port"]) == GRPC and int(given["rest_api_port"]) == REST
        # Without it, TF Serving does not start with labels in its configuration.
        assert given["allow_version_labels_for_unavailable_models"] == "true"
        assert int(given["model_config_file_poll_wait_seconds"]) > 0
        # TF Serving does not start with parameters for batching that is off.
        assert given["enable_batching"] == "true"
        for name in ("model_config_file", "monitoring_config_file", "batching_parameters_file"):
            folder, file = given[name].rsplit("/", 1)
            assert folder == "/config" and (CONFIG / file).is_file()


def test_files_make_a_config_map():
    for path in CONFIG.iterdir():
        assert path.is_file() and re.fullmatch(r"[-._a-zA-Z0-9]+", path.name)
    for path in DEPLOYMENTS:
        (volume,) = load(path)["spec"]["template"]["spec"]["volumes"]
        assert f"kubectl create configmap {volume['configMap']['name']} " in (
            (SERVING / "kubernetes/deployment.yaml").read_text()
        )
        (mount,) = container(path)["volumeMounts"]
        assert mount["name"] == volume["name"] and mount["mountPath"] == "/config"


def test_ports(image):
    exposed = next(s["value"] for s in image[3].structure if s["instruction"] == "EXPOSE")
    assert exposed.split() == [str(GRPC), str(REST)]
    published = load("compose.yaml")["services"]["serving"]["ports"]
    assert [port.rsplit(":", 2)[1:] for port in published] == [[str(p)] * 2 for p in (GRPC, REST)]
    # REST and metrics have no TLS: never for other hosts.
    assert published[1].startswith("127.0.0.1:")
    for path in DEPLOYMENTS:
        ports = {port["name"]: port["containerPort"] for port in container(path)["ports"]}
        assert ports == {"grpc": GRPC, "rest": REST}
    for service in load("kubernetes/service.yaml"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] == port["name"]
            assert port["port"] == {"grpc": GRPC, "rest": REST}[port["name"]]


def test_probes_call_what_is_there():
    # The pattern of what GET takes (tensorflow_serving/model_servers/http_rest_api_util.cc).
    rest = re.compile(
        r"(?i)/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?"
    )
    every_state = [CONFIG / "models.config", *(SERVING / "rollout").iterdir()]
    paths = []
    for path in DEPLOYMENTS:
        found = container(path)
        names = {port["name"] for port in found["ports"]}
        for kind in ("startupProbe", "livenessProbe"):
            assert found[kind]["tcpSocket"]["port"] == "grpc" and "grpc" in names
        assert found["readinessProbe"]["httpGet"]["port"] == "rest" and "rest" in names
        paths.append(found["readinessProbe"]["httpGet"]["path"])
    *_, script = load("compose.yaml")["services"]["serving"]["healthcheck"]["test"]
    assert f"/dev/tcp/127.0.0.1/{REST}" in script
    paths.append(re.search(r"GET (\S+) ", script).group(1))
    for path in paths:
        name, version, label, what = rest.fullmatch(path).groups()
        # Metadata need a loaded version; a status is also given of one that failed.
        assert name == MODEL and version is None and what == "metadata"
        for state in every_state:
            assert label in model_of(state).version_labels


def test_pods_are_found_and_scaled():
    services = load("kubernetes/service.yaml")
    scaler, budget = load("kubernetes/autoscaling.yaml")
    for path in DEPLOYMENTS:
        deployment = load(path)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for service in services:
            assert service["spec"]["selector"].items() <= labels.items()
    cpu, gpu = (load(path) for path in DEPLOYMENTS)
    assert cpu["spec"]["selector"] != gpu["spec"]["selector"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == cpu["metadata"]["name"]
    assert scaler["spec"]["minReplicas"] == cpu["spec"]["replicas"]
    assert budget["spec"]["selector"] == cpu["spec"]["selector"]
    # Utilisation is counted against what is requested.
    assert "cpu" in container(DEPLOYMENTS[0])["resources"]["requests"]


def test_threads_are_as_many_as_processors():
    found = container(DEPLOYMENTS[0])
    given = flags(found["args"])
    processors = int(found["resources"]["limits"]["cpu"])
    assert int(given["tensorflow_intra_op_parallelism"]) == processors
    assert int(given["tensorflow_inter_op_parallelism"]) == processors
    batching = (CONFIG / "batching_parameters.txt").read_text()
    assert int(re.search(r"num_batch_threads \{ value: (\d+) \}", batching)[1]) == processors


def test_a_pod_outlives_its_last_requests():
    for path in DEPLOYMENTS:
        wait = int(container(path)["lifecycle"]["preStop"]["exec"]["command"][1])
        grace = load(path)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert wait + 10 < grace


def test_metrics_are_where_they_are_looked_for():
    (path,) = re.findall(r'path: "(.*)"', (CONFIG / "monitoring.config").read_text())
    (scrape,) = load("monitoring/prometheus.yml")["scrape_configs"]
    assert scrape["metrics_path"] == path
    services = load("compose.yaml")["services"]
    assert scrape["static_configs"] == [{"targets": [f"serving:{REST}"]}] and "serving" in services
    for deployment in DEPLOYMENTS:
        notes = load(deployment)["spec"]["template"]["metadata"]["annotations"]
        assert notes["prometheus.io/path"] == path
        assert notes["prometheus.io/port"] == str(REST)
    source = load("monitoring/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in services
    provider = load("monitoring/grafana/provisioning/dashboards/far_keras.yml")["providers"][0]
    targets = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in targets
    board = json.loads((SERVING / "monitoring/grafana/dashboards/tf_serving.json").read_text())
    sources = re.findall(r'"uid": "(\w+)"', json.dumps(board["panels"]))
    assert set(sources) == {source["uid"]}


def expressions():
    board = json.loads((SERVING / "monitoring/grafana/dashboards/tf_serving.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m")
    for group in load("monitoring/alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


@pytest.mark.parametrize("expression", expressions())
def test_only_metrics_are_used_that_tf_serving_exports(expression):
    promql_parser.parse(expression)
    selectors = re.findall(r"(:[a-z_:]+|\bup\b)(?:\{([^}]*)\})?", expression)
    assert selectors
    for name, matchers in selectors:
        assert name in METRICS
        assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= METRICS[name]
    grouped = re.findall(r"by \(([^)]*)\)", expression)
    known = set().union(*(METRICS[name] for name, _ in selectors)) | {"le"}
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known


def test_the_page_names_only_files_that_are_there():
    page = (SERVING / "README.md").read_text()
    named = re.findall(r"(?<![\w/])serving/[\w./-]*\w", page)
    assert len(named) > 8
    made = ("serving/tls/certificates",)
    for path in named:
        assert path.startswith(made) or (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!http)([^)#]+)", page):
        assert (SERVING / target).exists(), target
