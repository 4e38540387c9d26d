"""Folders of unfinished trainings: only the same training goes on in them."""

import json
import shutil

import pytest

from far_keras.errors import ModelError
from far_keras.schema import AttributeSchema
from far_keras.training.claims import check_unfinished, claim
from far_keras.training.config import TrainConfig


@pytest.fixture
def claimed(records, schema_file, tmp_path):
    """The settings of a training, its own copies of what they name, and its folder."""
    shutil.copytree(records, tmp_path / "records")
    shutil.copy(schema_file, tmp_path / "schema.json")
    config = TrainConfig(
        records=tmp_path / "records", output=tmp_path / "model", schema=tmp_path / "schema.json"
    )
    partial = tmp_path / "model.partial"
    claim(partial, config, AttributeSchema.from_file(config.schema))
    return config, partial


def test_the_same_training_goes_on(claimed):
    config, partial = claimed
    check_unfinished(partial, config)
    check_unfinished(partial.with_name("other.partial"), config)  # nothing is there


def test_other_records_at_the_same_place_are_refused(claimed):
    config, partial = claimed
    manifest = partial.parent / "records" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"toy"', '"other"', 1))
    with pytest.raises(ModelError, match=r"model\.partial: .* other records than those .* now in"):
        check_unfinished(partial, config)
    # Records that are away for the moment are no others: loading them will say so.
    shutil.rmtree(partial.parent / "records")
    check_unfinished(partial, config)


def test_other_attributes_in_the_same_file_are_refused(claimed):
    config, partial = claimed
    path = partial.parent / "schema.json"
    path.write_text(path.read_text().replace("Bright", "Dark"))
    said = r"other attributes than .*schema\.json has now: missing attributes \['Dark'\]"
    with pytest.raises(ModelError, match=said):
        check_unfinished(partial, config)
    path.unlink()
    check_unfinished(partial, config)


def test_settings_of_an_earlier_version_have_their_defaults(claimed):
    config, partial = claimed
    path = partial / "config.json"
    data = json.loads(path.read_text())
    del data["config"]["mask_mode"]
    path.write_text(json.dumps(data))
    check_unfinished(partial, config)
    other = TrainConfig(**{**config.to_dict(), "mask_mode": "given"})
    with pytest.raises(ModelError, match="mask_mode 'joint', not 'given'"):
        check_unfinished(partial, other)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": {}}', '{"config": 3, "schema": {}}'])
def test_a_damaged_description_is_named(claimed, text):
    config, partial = claimed
    (partial / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json: expected .* delete .*model\.partial"):
        check_unfinished(partial, config)
