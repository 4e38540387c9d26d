import json
import subprocess
import sys

import pytest

from far_keras.calibration import Calibration
from far_keras.errors import ModelError
from far_keras.export.description import ModelDescription, describe
from far_keras.models.storage import LoadedModel
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import AttributeSchema, Group

SCHEMA = AttributeSchema(
    "two", ("Young", "Smiling"), (Group("Mouth", ("Smiling",), ("mouth", "nose")),
                                  Group("Object", ("Young",), ("object",)))
)  # fmt: skip
DESCRIPTION = ModelDescription(
    name="first",
    variant="mgmtn_efficientnetlite0",
    schema=SCHEMA,
    image_size=96,
    mask_size=(24, 24),
    thresholds={"Young": 0.25, "Smiling": 0.75},
    untrained=("Young",),
    calibration=Calibration({"Smiling": (1.5, -0.25)}),
    provenance={"seed": 3, "config": {"epochs": 2}},
    licence="Apache-2.0",
)


def test_json_gives_back_every_field():
    assert ModelDescription.from_json(DESCRIPTION.to_json()) == DESCRIPTION
    without = ModelDescription.from_dict({**DESCRIPTION.to_dict(), "mask_size": None})
    assert not without.has_masks


def test_it_says_what_a_client_must_know():
    data = json.loads(DESCRIPTION.to_json())
    assert data["attributes"] == ["Young", "Smiling"]
    assert data["groups"][0] == {
        "name": "Mouth",
        "regions": ["mouth", "nose"],
        "attributes": ["Smiling"],
    }
    assert data["input"]["frame"] == {
        "width": 178,
        "height": 218,
        "eyes": [[69.5, 111.0], [108.5, 111.0]],
    }
    assert data["calibration"] == {"Smiling": {"slope": 1.5, "offset": -0.25}}


@pytest.mark.parametrize("masks", [True, False])
def test_a_model_is_described(masks):
    config = ModelConfig(
        ("mgmtn" if masks else "baseline") + "_mobilenetv3small", {"image_size": 64}
    )
    loaded = LoadedModel(
        build_model(config, SCHEMA),
        SCHEMA,
        {"Young": 0.5, "Smiling": 0.5},
        config,
        {"untrained": ["Young"], "licence": "Apache-2.0"},
        Calibration({"Young": (2.0, 1.0)}),
    )
    described = describe(loaded, "small")
    assert described.name == "small"
    assert described.variant == config.variant
    assert described.image_size == 64
    assert described.mask_size == ((16, 16) if masks else None)
    assert described.untrained == ("Young",)
    assert described.calibration == loaded.calibration
    assert described.licence == "Apache-2.0"
    assert described.attributes == SCHEMA.attributes
    assert described.groups == SCHEMA.groups


def test_descriptions_of_0_1_0_are_read():
    data = DESCRIPTION.to_dict()
    data["untaught"] = data.pop("untrained")
    data["provenance"] = {**data["provenance"], "untaught": ["Young"]}
    description = ModelDescription.from_dict({**data, "format": 1})
    assert description.untrained == ("Young",)
    assert description.provenance == {"seed": 3, "config": {"epochs": 2}, "untrained": ["Young"]}


def drop(key):
    return {name: value for name, value in DESCRIPTION.to_dict().items() if name != key}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], r"format 2\. Received: \[\]"),
        ({**DESCRIPTION.to_dict(), "format": 7}, "Received: format 7"),
        *[(drop(key), "incomplete") for key in ("name", "groups", "untrained", "provenance")],
        ({**DESCRIPTION.to_dict(), "thresholds": {"Young": 0.5}}, "Smiling"),
        ({**DESCRIPTION.to_dict(), "calibration": {"Young": {"slope": 0, "offset": 0}}}, "slope"),
        ({**DESCRIPTION.to_dict(), "attributes": ["Young"]}, "Smiling"),
    ],
)
def test_bad_descriptions_are_refused_by_name(data, said):
    with pytest.raises(ModelError, match=said) as raised:
        ModelDescription.from_dict(data, "somewhere/far_keras.json")
    assert "somewhere/far_keras.json" in str(raised.value)


def test_text_that_is_not_json_is_refused():
    with pytest.raises(ModelError, match="not valid JSON"):
        ModelDescription.from_json(b'{"format": 1, "na')


def test_reading_it_loads_nothing_heavy():
    script = (
        "import sys, far_keras.export.description\n"
        "print([m for m in ('tensorflow', 'keras', 'mediapipe', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
