import dataclasses
import json
from pathlib import Path

import pytest

from far_keras.errors import SchemaError
from far_keras.schema import CELEBA, REGIONS, AttributeSchema, Group

PETS = {
    "name": "pets",
    "groups": [
        {"name": "Ears", "regions": ["ear"], "attributes": ["Floppy"]},
        {"name": "Face", "regions": ["eyes", "nose", "mouth"], "attributes": ["Happy", "Sleepy"]},
    ],
}


def schema(**changes):
    data = {
        "name": "s",
        "attributes": ("a", "b", "c"),
        "groups": (Group("Mouth", ("a", "b"), ("mouth",)), Group("Hair", ("c",), ("hair",))),
    }
    return AttributeSchema(**{**data, **changes})


def test_celeba_is_the_published_list_in_its_published_order():
    assert CELEBA.num_attributes == 40
    assert list(CELEBA.attributes) == sorted(CELEBA.attributes, key=str.lower)
    assert CELEBA.attributes[0] == "5_o_Clock_Shadow"
    assert CELEBA.attributes[-1] == "Young"
    assert CELEBA.group_names == (
        "Mouth", "Ear", "Lower Face", "Cheeks", "Nose", "Eyes", "Hair", "Object",
    )  # fmt: skip
    assert {region for group in CELEBA.groups for region in group.regions} == set(REGIONS)


def test_lookups():
    assert CELEBA.group_of("Goatee").name == "Lower Face"
    assert CELEBA.attributes[CELEBA.index("Smiling")] == "Smiling"
    with pytest.raises(SchemaError, match="no attribute 'Frowning'"):
        CELEBA.index("Frowning")
    with pytest.raises(SchemaError, match="no attribute 'Frowning'"):
        CELEBA.group_of("Frowning")


def test_it_is_immutable_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CELEBA.name = "other"
    assert hash(CELEBA) == hash(AttributeSchema.from_dict(CELEBA.to_dict()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attributes": ("a", "b", "c", "a")}, r"attribute names must be unique.*\['a'\]"),
        ({"attributes": ("a", "b", "c", "d")}, r"must be in a group. In none: \['d'\]"),
        (
            {
                "groups": (
                    Group("Mouth", ("a", "b"), ("mouth",)),
                    Group("Hair", ("b", "c"), ("hair",)),
                )
            },
            r"in one group only. In more than one: \['b'\]",
        ),
        (
            {"groups": (Group("Mouth", ("a", "b", "c", "x"), ("mouth",)),)},
            r"group 'Mouth': unknown attributes \['x'\]",
        ),
        (
            {"groups": (Group("Tail", ("a", "b", "c"), ("tail",)),)},
            r"group 'Tail': unknown regions \['tail'\]; known are",
        ),
        (
            {
                "groups": (
                    Group("Hair", ("a", "b"), ("mouth",)),
                    Group("Hair", ("c",), ("hair",)),
                )
            },
            r"group names must be unique. Given twice: \['Hair'\]",
        ),
        ({"groups": (Group("Mouth", (), ("mouth",)),)}, "at least one attribute"),
        ({"groups": (Group("Mouth", ("a", "b", "c"), ()),)}, "at least one region"),
        ({"groups": ()}, "at least one group"),
        ({"attributes": ()}, "at least one attribute"),
        ({"attributes": ("a", "b", "")}, "non-empty text"),
        ({"sensitive": ("a", "x")}, r"'sensitive' names unknown attributes \['x'\]"),
    ],
)
def test_contradictions_are_refused_by_name(changes, message):
    with pytest.raises(SchemaError, match=message):
        schema(**changes)


def test_reads_json_and_yaml_alike(tmp_path):
    import yaml

    (tmp_path / "pets.json").write_text(json.dumps(PETS))
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(PETS))
    from_json = AttributeSchema.from_file(tmp_path / "pets.json")
    assert from_json == AttributeSchema.from_file(tmp_path / "pets.yaml")
    assert from_json.attributes == ("Floppy", "Happy", "Sleepy")
    assert from_json.groups[1].regions == ("eyes", "nose", "mouth")
    assert AttributeSchema.from_dict(from_json.to_dict()) == from_json


def test_sensitive_attributes_are_known_by_name_unless_the_schema_names_its_own():
    assert {"Attractive", "Male", "Pale_Skin", "Young", "Chubby"} < set(CELEBA.sensitive)
    assert "Smiling" not in CELEBA.sensitive
    groups = [{"name": "Nose", "attributes": ["Male", "Freckles"]}]
    assert AttributeSchema.from_dict({"groups": groups}).sensitive == ("Male",)
    for own in ([], ["Freckles"]):
        read = AttributeSchema.from_dict({"groups": groups, "sensitive": own})
        assert read.sensitive == tuple(own)
        assert AttributeSchema.from_dict(read.to_dict()) == read


def test_order_of_attributes_may_be_given():
    data = {**PETS, "attributes": ["Sleepy", "Floppy", "Happy"]}
    assert AttributeSchema.from_dict(data).index("Floppy") == 1


def test_a_group_named_like_a_region_rests_on_it():
    data = {"groups": [{"name": "Lower Face", "attributes": ["Beard"]}]}
    assert AttributeSchema.from_dict(data).groups[0].regions == ("lower_face",)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.json", "{", "not valid JSON"),
        ("s.yaml", "a: [", "not valid YAML"),
        ("s.txt", "{}", r"expected a \.json, \.yaml or \.yml file"),
        ("s.json", "[1]", "expected a mapping"),
        ("s.json", '{"groups": [{"name": "Hair"}]}', "needs the keys 'name' and 'attributes'"),
        ("s.json", '{"groups": [{"name": "Hair", "attributes": "Bald"}]}', "a list of names"),
        ("s.json", '{"groups": [], "colour": 1}', r"unknown keys \['colour'\]"),
        ("s.yaml", "{groups: [], colour: 1, 2: 3}", r"unknown keys \[2, 'colour'\]"),
        ("s.yaml", "groups: [{name: Nose, attributes: [1]}]", "non-empty text"),
        ("s.yaml", "{groups: [], sensitive: Male}", "'sensitive': expected a list of names"),
    ],
)
def test_bad_files_are_refused_with_their_name(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SchemaError, match=message) as caught:
        AttributeSchema.from_file(tmp_path / name)
    assert name in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(SchemaError, match="cannot read the schema file"):
        AttributeSchema.from_file(tmp_path / "none.json")


def test_difference_names_what_differs():
    ours = schema()
    assert ours.difference(schema()) == ""
    fewer = schema(attributes=("a", "b"), groups=(Group("Mouth", ("a", "b"), ("mouth",)),))
    assert "missing attributes ['c']" in ours.difference(fewer)
    assert "additional attributes ['c']" in fewer.difference(ours)
    assert "another order" in ours.difference(schema(attributes=("c", "b", "a")))
    moved = schema(
        groups=(Group("Mouth", ("a",), ("mouth",)), Group("Hair", ("b", "c"), ("hair",)))
    )
    assert ours.difference(moved) == "other groups ['Hair', 'Mouth']"


def test_the_documented_example_is_a_schema(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "own.yaml").write_text(example, encoding="utf-8")
    own = AttributeSchema.from_file(tmp_path / "own.yaml")
    assert own.attributes == ("Smiling", "Freckles")
    assert own.group_of("Smiling").regions == ("mouth",)
    assert own.group_of("Freckles").regions == ("cheeks", "nose")
    listed = page.split("regions: [cheeks, nose]")[1].splitlines()[0].split("# of ")[1]
    assert tuple(listed.split(", ")) == REGIONS
