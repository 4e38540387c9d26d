"""A backbone that learns slowly, or not at all."""

import numpy as np
import pytest

from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema
from far_keras.training.epoch import load_split
from far_keras.training.stages import MASK_NETWORK, compile_stage, plan_stages

NETWORK = {"levels": ["P4"], "mask_level": "P3", "fusion_units": 8}
UNET = {"levels": ["P4"], "fusion_units": 8, "mask_network": "unet", "unet_channels": [4, 8]}


def first_step(make_config, stage=0, model=NETWORK, **changes):
    """How far the network's weights and statistics go in its first step: by layer, in all."""
    config = make_config(
        "unused",
        variant="mgmtn_efficientnetlite0",  # the setting is for backbones from ImageNet only
        imagenet=True,
        model=model,
        warmup=0.0,
        learning_rate=0.01,
        weight_decay=0.0,
        **changes,
    )
    schema = AttributeSchema.from_file(config.schema)
    network = build_model(ModelConfig("mgmtn_small", {"image_size": 64, **model}), schema)
    learner = compile_stage(network, plan_stages(config)[stage], config, schema, steps=10)
    before = network.get_weights()
    learner.fit(load_split(config, schema, learner, "train").take(1), shuffle=False, verbose=0)
    moves = {layer.name: {} for layer in network.layers if layer.weights}
    for layer in network.layers:
        for weight in layer.weights:
            old = before[[w.path for w in network.weights].index(weight.path)]
            moves[layer.name][weight.path] = np.abs(np.asarray(weight) - old).max()
    return moves


def test_a_frozen_backbone_keeps_weights_and_statistics(make_config):
    moves = first_step(make_config, backbone_rate=0.0)
    assert len(moves["backbone"]) == 4 * 5 and not any(moves["backbone"].values())
    assert max(moves["group_logits"].values()) == pytest.approx(0.01, rel=0.01)  # Adam's first


def test_a_slow_backbone_moves_by_its_share(make_config):
    moves = first_step(make_config, backbone_rate=0.1)
    kernels = [size for path, size in moves["backbone"].items() if "kernel" in path]
    assert len(kernels) == 4 and kernels == pytest.approx([0.001] * 4, rel=0.05)
    assert max(moves["group_logits"].values()) == pytest.approx(0.01, rel=0.01)


def test_two_stages_slow_the_backbone_where_there_is_one(make_config):
    two = {"model": UNET, "mask_mode": "two_stage", "backbone_rate": 0.0}
    masks, attributes = (first_step(make_config, stage, **two) for stage in (0, 1))
    for moves in (masks, attributes):
        assert not any(moves["backbone"].values())
    assert max(masks[MASK_NETWORK].values()) > 0.005 > 0 == max(masks["group_logits"].values())
    assert max(attributes[MASK_NETWORK].values()) == 0 < max(attributes["group_logits"].values())
