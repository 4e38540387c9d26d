import xml.etree.ElementTree as ET
from pathlib import Path

import keras
import pytest

from far_keras.models.baseline import baseline
from far_keras.models.mgmtn import mgmtn
from far_keras.models.variants import VARIANTS, ModelConfig, build_model
from far_keras.schema import CELEBA, AttributeSchema, Group
from research.network_diagram import draw_network
from research.receptive_field import ReceptiveField, fields_of_levels


@pytest.fixture
def schema():
    groups = {"Mouth": ("Smiling",), "Hair": ("Bald",), "Object": ("Young",)}
    return AttributeSchema(
        "small",
        ("Smiling", "Bald", "Young"),
        tuple(Group(name, own, (name.lower(),)) for name, own in groups.items()),
    )


@pytest.fixture
def backbone():
    """Five 3x3 convolutions of stride 2, P1 to P5."""
    x = pixels = keras.Input((None, None, 3))
    for n in range(1, 6):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"level_{n}")(x)
    network = keras.Model(pixels, x, name="small")
    network.pyramid_level_inputs = {f"P{n}": f"level_{n}" for n in range(1, 6)}
    return network


def test_fields_of_pyramid_levels(backbone, schema):
    assert fields_of_levels(mgmtn(backbone, schema, 64)) == {
        f"P{n}": ReceptiveField(2 ** (n + 1) - 1, 2**n) for n in (2, 3, 4, 5)
    }


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_drawn(variant):
    ET.fromstring(draw_network(build_model(ModelConfig(variant)), CELEBA))


def drawn(model, schema):
    svg = draw_network(model, schema)
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    width, height = map(float, root.get("viewBox").split()[2:])
    for rect in root.iter(f"{space}rect"):
        x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height
    return [text.text for text in root.iter(f"{space}text")]


@pytest.mark.parametrize(
    "options", [{}, {"levels": ("P2", "P5")}, {"global_shortcut": False}], ids=str
)
def test_the_drawing_holds_all_boxes_and_names(backbone, schema, options):
    words = drawn(mgmtn(backbone, schema, 64, **options), schema)
    assert {"Mouth", "Hair", "Object", "decode P5", "group masks", "image"} <= set(words)
    assert any("shortcut" in word for word in words) == options.get("global_shortcut", True)
    assert "one dense layer" in drawn(baseline(backbone, schema, 64), schema)


def test_the_drawing_in_the_readme_is_that_of_the_default_network():
    file = Path(__file__).parents[2] / "docs" / "images" / "network.svg"
    model = build_model(ModelConfig("mgmtn_efficientnetlite0"))
    assert file.read_text(encoding="utf-8") == draw_network(model, CELEBA), (
        "run python -m research.network_diagram mgmtn_efficientnetlite0 docs/images/network.svg"
    )


def test_many_groups_and_odd_names_are_drawn(backbone):
    names = [f"<a & b> {i}" for i in range(30)]
    groups = tuple(Group(name, (name,), ("mouth",)) for name in names)
    words = drawn(mgmtn(backbone, schema := AttributeSchema("many", tuple(names), groups), 64),
                  schema)  # fmt: skip
    assert "<a & b> 9" in words and "20 more groups" in words
