"""Styles mixed in a real backbone, in training only, over the same layers and weights."""

import numpy as np
import pytest

from far_keras.layers import MixStyle
from far_keras.models.storage import load_model
from far_keras.models.style_mixing import mix_styles
from far_keras.models.variants import ModelConfig, build_model
from far_keras.training.trainer import train

RNG = np.random.default_rng(0)
# Bright and dark images, so that there are styles.
PICTURES = RNG.uniform(0, 255, (4, 32, 32, 3)) * np.array([1, 0.2, 1, 0.2])[:, None, None, None]


@pytest.mark.parametrize("variant", ["mgmtn_efficientnetlite0", "baseline_mobilenetv3small"])
def test_the_mixing_network_shares_everything_and_answers_alike(variant):
    model = build_model(ModelConfig(variant, {"image_size": 32, "dropout": 0.0}))
    paths, layers = [w.path for w in model.weights], [layer.name for layer in model.layers]
    mixing = mix_styles(model, 1.0)
    assert [id(w) for w in mixing.weights] == [id(w) for w in model.weights]
    assert [w.path for w in model.weights] == paths
    assert [layer.name for layer in model.layers] == layers
    backbone = mixing.get_layer("backbone")
    assert sum(isinstance(layer, MixStyle) for layer in backbone.layers) == 2
    assert not any(isinstance(layer, MixStyle) for layer in model.get_layer("backbone").layers)
    assert set(mixing.output) == set(model.output)

    plain, same = model(PICTURES), mixing(PICTURES)
    for key in plain:
        np.testing.assert_array_equal(plain[key], same[key])


def test_styles_are_mixed_in_training():
    # This backbone has no dropout: two runs differ by the mixing alone.
    model = build_model(
        ModelConfig("baseline_mobilenetv3small", {"image_size": 32, "dropout": 0.0})
    )
    mixing = mix_styles(model, 1.0)
    first, second = (mixing(PICTURES, training=True)["attributes"] for _ in range(2))
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-3
    once, twice = (model(PICTURES, training=True)["attributes"] for _ in range(2))
    np.testing.assert_allclose(once, twice, atol=1e-6)


def test_a_training_mixes_and_saves_the_plain_network(make_config, tmp_path, trainings):
    settings = {"variant": "baseline_small", "model": {"dropout": 0.0}, "augment": False}
    plain = train(make_config(tmp_path / "plain", **settings), progress=False)
    config = make_config(tmp_path / "mixed", **settings, mix_style=1.0)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        trainings.interrupt_at(patch, "on_train_batch_end", 4)
        train(config, progress=False)
    resumed = train(config, progress=False)
    whole = train(make_config(tmp_path / "whole", **settings, mix_style=1.0), progress=False)
    trainings.assert_equal_models(whole.folder, resumed.folder)
    assert whole.history[-1]["loss"] != pytest.approx(plain.history[-1]["loss"], rel=1e-3)

    loaded = load_model(whole.folder)
    assert loaded.provenance["config"]["mix_style"] == 1.0
    names = [layer.name for layer in loaded.model.get_layer("backbone").layers]
    assert not any("mix" in name for name in names)
