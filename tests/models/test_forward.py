import keras
import numpy as np

from far_keras.models.storage import compile_forward


def test_any_batch_size_in_inference_mode():
    image = keras.Input((4, 4, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Dropout(0.9)(image))
    model = keras.Model(image, {"mean": pooled, "twice": keras.layers.Rescaling(2.0)(pooled)})
    forward = compile_forward(model)
    for count in (1, 3, 7):
        pictures = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
        outputs = forward(pictures)
        expected = pictures.mean(axis=(1, 2))  # dropout would zero or scale most of it
        np.testing.assert_allclose(outputs["mean"], expected, rtol=1e-6)
        np.testing.assert_allclose(outputs["twice"], 2 * expected, rtol=1e-6)
        assert outputs["mean"].dtype == np.float32
