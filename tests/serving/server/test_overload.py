"""More requests than the server computes: some are refused, and it goes on."""

import collections

import grpc
import pytest


@pytest.fixture(scope="module")
def models(tmp_path_factory, write_sums):
    folder = tmp_path_factory.mktemp("served")
    write_sums(folder / "sums" / "1", 1)
    return folder


def test_a_full_queue_refuses(models, serve, sums_request):
    with serve(models=models, max_queue=0, parallel_runs=1) as (_, caller):
        calls = [
            caller.prediction.Predict.future(sums_request(100_000), timeout=60) for _ in range(40)
        ]
        codes = collections.Counter(call.code().name for call in calls)
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
        assert codes["OK"] >= 1
        refused = next(call for call in calls if call.code().name != "OK")
        assert "the server is busy: 0 requests wait already" in refused.details()
        # It is over with the rush.
        for call in calls:
            if call.code().name == "OK":
                assert len(call.result().outputs["sum"].float_val) == 100_000
        answer = caller.prediction.Predict(sums_request(), timeout=20)
        assert answer.outputs["sum"].float_val == [3.0]


def test_requests_at_hand_fill_no_more_than_their_memory(models, serve, sums_request):
    large, small = sums_request(100_000), sums_request(1000)
    with serve(models=models, max_queue_bytes=1_000_000) as (_, caller):
        assert large.ByteSize() > 1_000_000
        code, text = caller.refusal(caller.prediction.Predict, large)
        assert code == "RESOURCE_EXHAUSTED"
        assert "the requests in progress fill its memory" in text
        # What was computed counts no longer: together these are far above the limit.
        for _ in range(200):
            caller.prediction.Predict(small, timeout=20)
        # Nor does what was refused, before or after it was taken.
        small.model_spec.name = "nobody"
        for _ in range(200):
            with pytest.raises(grpc.RpcError, match="Servable not found"):
                caller.prediction.Predict(small, timeout=20)
        fits = sums_request(80_000)
        assert 900_000 < fits.ByteSize() < 1_000_000
        assert len(caller.prediction.Predict(fits, timeout=20).outputs["sum"].float_val) == 80_000


def test_requests_that_fit_one_by_one_are_too_much_together(models, serve, sums_request):
    with serve(models=models, max_queue_bytes=1_000_000, parallel_runs=1) as (_, caller):
        calls = [
            caller.prediction.Predict.future(sums_request(80_000), timeout=60) for _ in range(40)
        ]
        codes = collections.Counter(call.code().name for call in calls)
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
        assert caller.prediction.Predict(sums_request(80_000), timeout=20)
