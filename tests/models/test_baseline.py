import numpy as np

from far_keras.models.baseline import baseline


def test_baseline_is_backbone_average_and_dense(backbone, schema):
    model = baseline(backbone, schema, 64, name="plain")
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype("float32")
    features = model.get_layer("backbone")(images)["P5"]
    kernel, bias = model.get_layer("attribute_logits").get_weights()
    expected = np.asarray(features).mean(axis=(1, 2)) @ kernel + bias
    outputs = model(images)
    assert set(outputs) == {"attributes"} and model.name == "plain"
    np.testing.assert_allclose(outputs["attributes"], expected, rtol=1e-5, atol=1e-6)  # float32
