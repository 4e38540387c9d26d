import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)

from far_keras.errors import ServerError

State = get_model_status_pb2.ModelVersionStatus.State


@pytest.fixture
def models(tmp_path, write_sums):
    write_sums(tmp_path / "models" / "sums" / "1", 1)
    return tmp_path / "models"


def request(version=None, label=None, name="sums"):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = name
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    message.inputs["x"].CopyFrom(tf.make_tensor_proto(np.ones((1, 3), np.float32)))
    return message


def version_of(caller, **spec):
    """The version of a response, by the model's output and by the server."""
    answer = caller.prediction.Predict(request(**spec), timeout=20)
    assert answer.outputs["version"].float_val[0] == answer.model_spec.version.value
    return answer.model_spec.version.value


def states(caller, name="sums", version=None):
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = name
    if version is not None:
        message.model_spec.version.value = version
    answer = caller.models.GetModelStatus(message, timeout=20)
    return {
        one.version: (State.Name(one.state), one.status.error_message)
        for one in answer.model_version_status
    }


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def reload_request(folder, name="sums", labels=None, **policy):
    message = model_management_pb2.ReloadConfigRequest()
    entry = message.config.model_config_list.config.add(
        name=name, base_path=str(folder), model_platform="tensorflow"
    )
    if "specific" in policy:
        entry.model_version_policy.specific.versions.extend(policy["specific"])
    elif "latest" in policy:
        entry.model_version_policy.latest.num_versions = policy["latest"]
    elif policy.get("all"):
        entry.model_version_policy.all.SetInParent()
    for label, version in (labels or {}).items():
        entry.version_labels[label] = version
    return message


def reloaded(caller, *arguments, **policy):
    return caller.models.HandleReloadConfigRequest(
        reload_request(*arguments, **policy), timeout=30
    ).status.error_code


def test_a_new_version_replaces_the_old_one_without_a_failed_request(models, serve, write_sums):
    with serve(models=models, poll_seconds=0.05) as (_, caller):
        failures, versions, stop = [], [], threading.Event()

        def call():
            while not stop.is_set():
                try:
                    versions.append(version_of(caller))
                except (grpc.RpcError, AssertionError) as error:
                    failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in (2, 3, 4):
            write_sums(models / "sums" / str(number), number)
            wait_for(lambda number=number: number in versions)
            wait_for(lambda number=number: states(caller)[number - 1][0] == "END")
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not failures
        assert set(versions) == {1, 2, 3, 4}
        assert states(caller)[4] == ("AVAILABLE", "")


def test_a_call_in_progress_ends_on_the_version_that_it_began_on(models, serve, write_sums):
    with serve(models=models, poll_seconds=0) as (server, caller):
        manager = server._manager
        with manager.use(request().model_spec) as servable:
            write_sums(models / "sums" / "2", 2)
            manager.poll()
            assert version_of(caller) == 2
            assert states(caller)[1][0] == "UNLOADING"
            signature = servable.model.signatures["serving_default"]
            assert signature({"x": np.ones((1, 3), np.float32)})["version"] == [1]
        assert states(caller)[1][0] == "END"
        assert servable._model is None


@pytest.mark.parametrize("damage", ["empty", "graph", "weights", "warm-up"])
def test_a_version_that_does_not_load_leaves_the_old_one(models, serve, write_sums, damage):
    with serve(models=models, poll_seconds=0.05) as (_, caller):
        folder = models / "sums" / ".2.tmp"
        if damage == "empty":
            folder.mkdir()
        else:
            shutil.copytree(models / "sums" / "1", folder)
        if damage == "graph":
            (folder / "saved_model.pb").write_bytes(b"no graph")
        elif damage == "weights":
            (folder / "variables" / "variables.index").write_bytes(b"no weights")
        elif damage == "warm-up":
            (folder / "assets.extra").mkdir()
            (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"no records" * 9)
        folder.rename(models / "sums" / "2")
        wait_for(lambda: states(caller).get(2, ("",))[0] == "END")
        _, error = states(caller)[2]
        assert str(models / "sums" / "2") in error
        assert "\n" not in error
        assert version_of(caller) == 1
        assert states(caller)[1] == ("AVAILABLE", "")
        # What came whole later is taken.
        shutil.rmtree(models / "sums" / "2")
        write_sums(models / "sums" / "2", 2)
        wait_for(lambda: states(caller)[2] == ("AVAILABLE", ""))
        assert version_of(caller) == 2


def test_a_broken_latest_version_at_the_start_leaves_the_one_before(models, serve):
    (models / "sums" / "2").mkdir()
    with serve(models=models) as (_, caller):
        assert version_of(caller) == 1
        assert states(caller)[2][0] == "END"


def test_a_server_without_a_version_that_loads_does_not_start(models, serve):
    (models / "sums" / "1" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ServerError, match="sums/1: does not load"), serve(models=models):
        pass


def test_versions_and_labels_by_reload(models, serve, write_sums):
    folder = models / "sums"
    write_sums(folder / "2", 2)
    with serve(models=models, poll_seconds=0) as (_, caller):
        assert version_of(caller) == 2
        assert reloaded(caller, folder, all=True, labels={"stable": 1, "canary": 2}) == 0
        assert (version_of(caller, version=1), version_of(caller, version=2)) == (1, 2)
        assert (version_of(caller, label="stable"), version_of(caller, label="canary")) == (
            1,
            2,
        )
        assert reloaded(caller, folder, specific=[1], labels={"stable": 1}) == 0
        assert version_of(caller) == 1
        code, text = caller.refusal(caller.prediction.Predict, request(version=2))
        assert code == "NOT_FOUND"
        code, text = caller.refusal(caller.prediction.Predict, request(label="canary"))
        assert (code, text) == ("INVALID_ARGUMENT", "Unrecognized servable version label: canary")


def test_a_label_moves_without_a_failed_request(models, serve, write_sums):
    folder = models / "sums"
    write_sums(folder / "2", 2)
    with serve(models=models, poll_seconds=0) as (_, caller):
        reloaded(caller, folder, all=True, labels={"stable": 1})
        failures, stop = [], threading.Event()

        def call():
            while not stop.is_set():
                try:
                    version_of(caller, label="stable")
                except (grpc.RpcError, AssertionError, ValueError) as error:
                    failures.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        for number in (2, 1, 2):
            reloaded(caller, folder, all=True, labels={"stable": number})
        reloaded(caller, folder, specific=[2], labels={"stable": 2})
        stop.set()
        thread.join(20)
        assert not failures
        assert version_of(caller, label="stable") == 2


def test_a_version_on_its_way_out_can_be_called_back(models, serve, write_sums):
    write_sums(models / "sums" / "2", 2)
    with serve(models=models, poll_seconds=0) as (server, caller):
        reloaded(caller, models / "sums", specific=[1])
        with server._manager.use(request().model_spec) as servable:
            reloaded(caller, models / "sums", specific=[2])
            assert states(caller)[1][0] == "UNLOADING"
            assert reloaded(caller, models / "sums", specific=[1]) == 0
            assert version_of(caller) == 1
        assert servable._model is None  # the one that was in use; the one that replaced it stays
        assert version_of(caller) == 1


def test_a_wrong_reload_changes_nothing(models, tmp_path, serve):
    folder = models / "sums"
    damaged = tmp_path / "damaged"
    (damaged / "2").mkdir(parents=True)
    (damaged / "2" / "saved_model.pb").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    with serve(models=models, poll_seconds=0.05) as (_, caller):
        for message, code, says in (
            (model_management_pb2.ReloadConfigRequest(), "INVALID_ARGUMENT", "ModelConfigList"),
            (reload_request("sums"), "INVALID_ARGUMENT", "absolute base_path"),
            (reload_request(folder, labels={"new": 7}), "FAILED_PRECONDITION", "version 7"),
            (reload_request(tmp_path / "empty"), "UNKNOWN", "no version of sums"),
            (reload_request(tmp_path / "nowhere"), "UNKNOWN", "nowhere"),
            (reload_request(damaged), "UNKNOWN", "damaged"),
        ):
            received, text = caller.refusal(caller.models.HandleReloadConfigRequest, message)
            assert received == code
            assert says in text
            assert version_of(caller) == 1
            assert states(caller) == {1: ("AVAILABLE", "")}


def test_a_reload_may_add_and_remove_models(models, tmp_path, serve, write_sums):
    write_sums(tmp_path / "elsewhere" / "5", 5)
    with serve(models=models, poll_seconds=0) as (_, caller):
        message = reload_request(models / "sums")
        message.config.model_config_list.config.extend(
            reload_request(tmp_path / "elsewhere", name="more").config.model_config_list.config
        )
        caller.models.HandleReloadConfigRequest(message, timeout=30)
        assert (version_of(caller), version_of(caller, name="more")) == (1, 5)
        assert reloaded(caller, tmp_path / "elsewhere", name="more") == 0
        code, _ = caller.refusal(caller.prediction.Predict, request())
        assert code == "NOT_FOUND"
        code, text = caller.refusal(
            caller.models.HandleReloadConfigRequest, reload_request(tmp_path / "nowhere")
        )
        assert code == "UNKNOWN"
        assert "nowhere" in text


def test_models_that_appear_later_are_served(models, serve, write_sums):
    with serve(models=models, poll_seconds=0.05) as (server, caller):
        write_sums(models / "more" / "1", 1)
        wait_for(lambda: "more" in server.models)
        assert version_of(caller, name="more") == 1


def test_status_and_metadata(models, serve):
    with serve(models=models) as (_, caller):
        assert states(caller, version=1) == {1: ("AVAILABLE", "")}
        for name, version, code in (("sums", 9, "NOT_FOUND"), ("nobody", None, "NOT_FOUND")):
            message = get_model_status_pb2.GetModelStatusRequest()
            message.model_spec.name = name
            if version:
                message.model_spec.version.value = version
            assert caller.refusal(caller.models.GetModelStatus, message)[0] == code
        message = get_model_metadata_pb2.GetModelMetadataRequest()
        message.model_spec.name = "sums"
        code, text = caller.refusal(caller.prediction.GetModelMetadata, message)
        assert (code, "at least one metadata_field" in text) == ("INVALID_ARGUMENT", True)
        message.metadata_field.append("signature_def")
        answer = caller.prediction.GetModelMetadata(message, timeout=10)
        assert answer.model_spec.version.value == 1
        found = get_model_metadata_pb2.SignatureDefMap()
        assert answer.metadata["signature_def"].Unpack(found)
        assert {"serving_default", "doubled"} <= set(found.signature_def)
        assert found.signature_def["doubled"].inputs["x"].dtype == tf.float32.as_datatype_enum
        message.metadata_field.append("weights")
        code, text = caller.refusal(caller.prediction.GetModelMetadata, message)
        assert (code, "weights is not supported" in text) == ("INVALID_ARGUMENT", True)
