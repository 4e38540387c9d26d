"""What holds for every layer: config, reload, gradients, precision, compilation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from far_keras.layers import (
    AreaResize,
    GroupedDense,
    GroupedHead,
    GroupGlobalFusion,
    GroupPooling,
    Rescale,
    Resize,
    SplitAttention,
)

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 6, 5, 7)).astype("float32")  # (B, H, W, C)
MASKS = RNG.uniform(size=(3, 6, 5, 4)).astype("float32")  # (B, H, W, G)
GROUP = RNG.normal(size=(3, 4, 7)).astype("float32")  # (B, G, C)
WHOLE = RNG.normal(size=(3, 9)).astype("float32")  # (B, K)

# Each layer with arguments that are not the defaults, and an input.
CASES = {
    "rescale": (Rescale, {"offset": 127.0, "divisor": 128.0}, FEATURES),
    "rescale_channels": (Rescale, {"offset": [1.0] * 6 + [2.0], "divisor": [3.0] * 7}, FEATURES),
    "resize": (Resize, {"height": 11, "width": 9}, FEATURES),
    "area_resize": (AreaResize, {"height": 4, "width": 2}, MASKS),
    "pooling": (GroupPooling, {"mode": "product", "epsilon": 0.5}, [FEATURES, MASKS]),
    "pooling_average": (GroupPooling, {"mode": "average", "epsilon": 1e-3}, [FEATURES, MASKS]),
    "grouped_dense": (GroupedDense, {"units": 5, "activation": "relu"}, GROUP),
    "grouped_head": (GroupedHead, {"group_of": [3, 0, 3, 2, 1]}, GROUP),
    "fusion_concat": (GroupGlobalFusion, {"units": 5, "mode": "concat"}, [GROUP, WHOLE]),
    "fusion_gated": (GroupGlobalFusion, {"units": 5, "mode": "gated"}, [GROUP, WHOLE]),
    "fusion_sum": (GroupGlobalFusion, {"units": 5, "mode": "sum"}, [GROUP, WHOLE]),
    "split_attention": (
        SplitAttention,
        {
            "filters": 3,
            "radix": 3,
            "reduction": 2,
            "kernel_size": 5,
            "momentum": 0.8,
            "epsilon": 0.1,
        },
        FEATURES[..., :6],
    ),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def model_of(layer, example):
    """A functional model that is the layer alone."""
    arrays = example if isinstance(example, list) else [example]
    inputs = [keras.Input(array.shape[1:]) for array in arrays]
    return keras.Model(inputs, layer(inputs if isinstance(example, list) else inputs[0]))


@cases
def test_config_holds_every_argument(case):
    kind, arguments, _ = case
    config = kind(**arguments, name="mine").get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert config["name"] == "mine"
    assert kind.from_config(config).get_config() == config


@cases
def test_reloaded_model_gives_equal_outputs(case, tmp_path):
    kind, arguments, example = case
    model = model_of(kind(**arguments), example)
    for weight in model.weights:  # biases too: zeros would hide a lost one
        values = RNG.normal(size=weight.shape)
        weight.assign(np.abs(values) if weight.name == "moving_variance" else values)
    model.save(tmp_path / "layer.keras")
    reloaded = keras.models.load_model(tmp_path / "layer.keras")
    outputs = model.predict(example, verbose=0)
    assert np.isfinite(outputs).all()
    np.testing.assert_array_equal(outputs, reloaded.predict(example, verbose=0))


@cases
def test_gradients_reach_every_weight_and_input(case):
    kind, arguments, example = case
    layer = kind(**arguments)
    inputs = tf.nest.map_structure(tf.constant, example)
    layer(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs) ** 2)
    sources = [*layer.trainable_variables, *tf.nest.flatten(inputs)]
    gradients = tape.gradient(loss, [getattr(source, "value", source) for source in sources])
    for source, gradient in zip(sources, gradients, strict=True):
        assert gradient is not None and np.any(gradient != 0), getattr(source, "path", "input")


@cases
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_stays_near_float32(case, policy):
    kind, arguments, example = case
    full = kind(**arguments)
    expected = np.asarray(full(example))
    half = kind(**arguments, dtype=policy)
    half(example)
    half.set_weights(full.get_weights())
    result = half(example)
    assert result.dtype == ("float16" if policy == "mixed_float16" else "bfloat16")
    # Sums of up to 30 rounded terms: bfloat16 keeps 8 bits, float16 11.
    tolerance = 0.05 if policy == "mixed_bfloat16" else 0.01
    np.testing.assert_allclose(
        np.asarray(keras.ops.cast(result, "float32")), expected, rtol=tolerance, atol=tolerance
    )


@cases
def test_output_shape_is_static_and_any_batch_size_works(case):
    kind, arguments, example = case
    layer = kind(**arguments)
    model = model_of(layer, example)
    one = tf.nest.map_structure(lambda array: array[:1], example)
    whole = model.predict(example, verbose=0)
    assert model.output_shape == (None, *whole.shape[1:])
    # Only the order of summation differs with the batch size.
    np.testing.assert_allclose(model.predict(one, verbose=0), whole[:1], rtol=1e-5, atol=1e-6)


@cases
def test_compiles_with_xla(case):
    kind, arguments, example = case
    layer = kind(**arguments)
    expected = np.asarray(layer(example))
    compiled = tf.function(layer.__call__, jit_compile=True)
    inputs = tf.nest.map_structure(tf.constant, example)
    # XLA fuses, so sums may round differently in the last bits.
    np.testing.assert_allclose(np.asarray(compiled(inputs)), expected, rtol=1e-5, atol=1e-6)
