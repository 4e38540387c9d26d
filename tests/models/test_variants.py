import pytest

from far_keras.errors import ModelError
from far_keras.models.backbones import BACKBONES
from far_keras.models.storage import load_model
from far_keras.models.variants import (
    PRETRAINED,
    VARIANTS,
    ModelConfig,
    Variant,
    build_model,
    pretrained_folder,
)
from far_keras.schema import CELEBA

NAMED = dict(VARIANTS)  # before other tests add theirs


def test_every_network_has_its_baseline_and_a_backbone_that_exists():
    assert {Variant(*row).network for row in NAMED.values()} == {"mgmtn", "baseline"}
    for name, row in NAMED.items():
        variant = Variant(*row)
        assert name == f"{variant.network}_{variant.backbone}"
        assert variant.backbone in BACKBONES
        other = Variant(*NAMED[f"baseline_{variant.backbone}"])
        assert other.image_size == variant.image_size and other.mask_network is None


@pytest.mark.parametrize(
    "name, size, masks",
    [
        ("mgmtn_efficientnetlite0", 128, 32),
        ("mgmtn_mobilenetv3small", 128, 32),
        ("mgmtn_resnet50", 227, 227),
        ("baseline_resnet50", 227, None),
    ],
)
def test_a_variant_has_its_own_size_and_mask_network(name, size, masks):
    model = build_model(ModelConfig(name))
    assert model.name == name and model.input_shape == (None, size, size, 3)
    assert model.output["attributes"].shape == (None, 40)
    assert ("masks" in model.output) == (masks is not None)
    if masks:
        assert model.output["masks"].shape == (None, masks, masks, 8)


def test_what_is_given_wins_over_the_variants_own():
    config = ModelConfig("mgmtn_resnet50", {"image_size": 64, "mask_network": "shared"})
    assert config.all_arguments == {"image_size": 64, "mask_network": "shared"}
    assert ModelConfig("mgmtn_resnet50", {"image_size": 64}).all_arguments == {
        "image_size": 64,
        "mask_network": "unet",
    }


def test_small_variants_answer_from_their_own_regions_and_the_papers_fuse_the_global_feature():
    for name in ("mgmtn_efficientnetlite0", "mgmtn_mobilenetv3small"):
        layers = {layer.name for layer in build_model(ModelConfig(name)).layers}
        assert "group_dense" in layers and "group_pooling_P4" in layers
        assert not layers & {"fusion", "global_logits", "group_pooling_P5"}
    layers = {layer.name for layer in build_model(ModelConfig("mgmtn_resnet50")).layers}
    assert layers >= {"fusion", "global_logits", "group_pooling_P5"}


def test_written_out_it_builds_the_same_network_whatever_the_defaults():
    config = ModelConfig("mgmtn_efficientnetlite0", {"fusion_units": 8}).written_out()
    assert config.arguments["levels"] == ("P3", "P4") and config.arguments["fusion_units"] == 8
    assert set(config.arguments) >= {"dropout", "pooling", "masks", "image_size"}
    assert config.written_out() == config


def test_the_shipped_model_is_whole_small_and_says_where_it_comes_from():
    folder = pretrained_folder()
    loaded = load_model(folder, CELEBA)
    assert loaded.config.variant == PRETRAINED
    assert sum(file.stat().st_size for file in folder.iterdir()) < 10e6
    assert loaded.provenance["licence"] == "Apache-2.0"
    assert loaded.provenance["recipe"]["pictures"] == loaded.provenance["synthesis"]["count"]
    assert not any(str(word).startswith("/") for word in loaded.provenance["command"])
    card = (folder / "MODEL_CARD.md").read_text()
    assert loaded.provenance["manifest_sha256"] in card and "(mistakes.jpg)" in card
    for name in CELEBA.sensitive or ():
        assert name in card.split("unless asked for:")[1]


def test_an_unknown_model_is_refused_by_name():
    with pytest.raises(ModelError, match=r"'best': expected one of .*mgmtn_efficientnetlite0"):
        pretrained_folder("best")
