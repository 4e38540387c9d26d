import pytest

from far_keras.errors import ModelError
from far_keras.models.storage import load_model
from far_keras.models.variants import PRETRAINED, pretrained_folder
from far_keras.schema import CELEBA


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
