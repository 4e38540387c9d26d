import io
import json

import keras
import pytest
from rich.console import Console

from far_keras.cli import main
from far_keras.errors import ModelError
from far_keras.models.baseline import baseline
from far_keras.models.mgmtn import mgmtn
from far_keras.models.summary import count_flops, summarize, tables
from far_keras.models.variants import VARIANTS, ModelConfig, build_model


def profiled(model):
    """TensorFlow's own profiler on the frozen graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph,
    )

    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    _, definition = convert_variables_to_constants_v2_as_graph(concrete)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        return tf.compat.v1.profiler.profile(
            graph, run_meta=tf.compat.v1.RunMetadata(), cmd="op", options=options
        ).total_float_ops


@pytest.mark.parametrize(
    "variant",
    [
        "mgmtn_small",
        "baseline_small",
        "mgmtn_mobilenetv3small",
        *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS),
    ],
)
def test_parts_add_up_to_the_whole_of_every_variant(variant, small_variants):
    model = build_model(ModelConfig(variant))
    summary = summarize(model)
    assert summary.parameters == model.count_params()
    assert summary.flops == count_flops(model, model.input)
    assert sum(part.trainable for part in summary.parts) == sum(
        weight.shape.num_elements() for weight in model.trainable_weights
    )
    if not variant.endswith("_small"):  # whose backbone is a toy
        assert summary.part("backbone").flops > 0.4 * summary.flops


@pytest.mark.parametrize(
    "variant",
    ["mgmtn_small", pytest.param("mgmtn_efficientnetlite0", marks=pytest.mark.slow)],
)
def test_the_profiler_agrees(variant, small_variants):
    model = build_model(ModelConfig(variant))
    assert count_flops(model, model.input) == profiled(model)


@pytest.mark.parametrize(
    ("layer", "flops"),
    [
        (keras.layers.Conv2D(5, 3, padding="same"), 6 * 6 * 5 * (2 * 9 * 4 + 1)),
        # The profiler itself sees the bias alone: Keras hides the groups in a function.
        (keras.layers.Conv2D(6, 3, padding="same", groups=2), 6 * 6 * 6 * (2 * 9 * 2 + 1)),
        (keras.layers.DepthwiseConv2D(3, use_bias=False, padding="same"), 6 * 6 * 4 * 2 * 9),
        (keras.layers.Activation("relu"), 0),
    ],
)
def test_operations_are_counted_as_by_hand(layer, flops):
    assert count_flops(layer, keras.Input((6, 6, 4))) == flops


def test_parts_and_levels_of_a_small_mgmtn(backbone, schema):
    summary = summarize(mgmtn(backbone, schema, 64, levels=("P3", "P5"), mask_filters=6))
    assert summary.inputs == {"image": (64, 64, 3)}
    assert summary.outputs == {"attributes": (4,), "masks": (16, 16, 3)}
    assert [part.name for part in summary.parts] == ["backbone", "mask network", "fusion", "heads"]
    levels = {level.name: level for level in summary.levels}
    assert levels["P2"].read_by == levels["P4"].read_by == ("mask network",)
    assert levels["P3"].read_by == ("mask network", "fusion")
    assert list(levels) == ["P2", "P3", "P4", "P5"]
    assert levels["P3"].shape == (8, 8, 7)
    # Two dense layers: one a group for 4 attributes of 64 features, one shared on P5's 9.
    assert summary.part("heads").parameters == 4 * (64 + 1) + 4 * (9 + 1)
    assert summary.part("fusion").parameters == 3 * (2 * (7 + 9) + 1) * 64


def test_a_baseline_has_no_mask_network(backbone, schema):
    summary = summarize(baseline(backbone, schema, 64))
    assert [part.name for part in summary.parts] == ["backbone", "fusion", "heads"]
    assert summary.part("mask network") is None
    assert summary.part("heads").parameters == 4 * (9 + 1)


def test_a_mask_network_that_reads_the_image_is_told_from_one_on_the_backbone(schema, backbone):
    level = backbone.get_layer("level_1").output
    inner = keras.Model(backbone.input, {"P1": level}, name="backbone")
    image = keras.Input((64, 64, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(inner(image)["P1"])
    outputs = {
        "attributes": keras.layers.Dense(4)(pooled),
        "masks": keras.layers.Conv2D(3, 1)(image),
    }
    model = keras.Model(image, outputs)
    summary = summarize(model)
    assert summary.part("mask network").parameters == 3 * (3 + 1)
    assert summary.levels[0].read_by == ("fusion",)


def test_another_model_is_refused():
    x = keras.Input((8,))
    with pytest.raises(ModelError, match="'attributes'"):
        summarize(keras.Model(x, keras.layers.Dense(2)(x)))


def test_tables_name_every_part_and_level(backbone, schema):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*tables(summarize(mgmtn(backbone, schema, 64))))
    text = console.export_text()
    for words in ("mask network", "P5", "32", "total", "16x16x3"):
        assert words in text


def test_the_command_prints_json(small_variants, schema, tmp_path, capsys):
    own = tmp_path / "schema.json"
    own.write_text(json.dumps(schema.to_dict()))
    words = ["summary", "mgmtn_small", "--image-size", "64", "--schema", str(own), "--json"]
    assert main(words) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["outputs"] == {"attributes": [4], "masks": [16, 16, 3]}
    assert data["flops"] == sum(part["flops"] for part in data["parts"])
    assert main(["summary", "mgmtn_nothing"]) == 1
    assert "mgmtn_small" in capsys.readouterr().err
