import numpy as np
import pytest

from far_keras.evaluation.answers import answer_split
from far_keras.experiments.jobs import Job, load_answers, run_jobs
from far_keras.models.storage import load_model
from far_keras.training.config import TrainConfig
from far_keras.training.trainer import train

CONFIG = {"variant": "mgmtn_mobilenetv3small", "image_size": 32, "epochs": 1, "limit": 32}


@pytest.mark.slow
def test_answers_are_calibrated_as_the_thresholds_are(records, tmp_path):
    tests = {"test": (str(records), ("test",))}
    job = Job("32/mgmtn-0", str(tmp_path), {"records": str(records), **CONFIG}, tests)
    run_jobs([job])
    assert not job.model.exists()  # once it has answered
    said = load_answers(job)["test"]

    config = TrainConfig(output=str(tmp_path / "again"), **job.config)
    loaded = load_model(train(config, progress=False).folder)
    plain = answer_split(loaded.model, loaded.schema, records, "test")
    expected = loaded.calibration.probabilities(plain.logits, loaded.schema.attributes)
    thresholds = [loaded.thresholds[name] for name in loaded.schema.attributes]
    np.testing.assert_allclose(said.thresholds, thresholds, atol=0.02)
    np.testing.assert_allclose(said.probabilities, expected, atol=0.02)
    assert np.abs(plain.probabilities - expected).max() > 0.1  # it matters
