"""Contact sheets of what the renderer varies."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from far_keras.errors import DatasetError
from research.variety import PARAMETERS, Parameter, along, plain_shots, write_variety


def test_a_value_changes_what_its_paths_name_and_nothing_else():
    [(before, plain)] = plain_shots(PARAMETERS["yaw"], people=1, seed=0)
    turn = Parameter("turn", {"left": {"shot.camera.yaw": -30.0, "person.hair.style": "bun"}})
    person, shot = turn.applied("left", before, plain)
    assert shot.camera.yaw == -30 and person.hair.style == "bun"
    back = along("yaw", "shot.camera.yaw", [0.0]).applied("0.0", person, shot)[1]
    assert back == plain


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_path_exists_and_every_value_differs(name):
    parameter = PARAMETERS[name]
    [pair] = plain_shots(parameter, people=1, seed=0)
    changed = {caption: parameter.applied(caption, *pair) for caption in parameter.values}
    assert len(changed) > 1
    assert len({repr(value) for value in changed.values()}) == len(changed)


def test_sheets_have_a_row_for_each_value_and_a_column_for_each_person(tmp_path):
    [path] = write_variety(tmp_path / "new", ["exposure"], people=2)
    assert path.name == "exposure.png"
    sheet = np.asarray(Image.open(path).convert("L")).astype(float)
    rows = np.array_split(sheet, len(PARAMETERS["exposure"].values))
    assert 2 * 178 <= sheet.shape[1] < 3 * 178
    brightness = [row[20:220, :170].mean() for row in rows]
    assert brightness == sorted(brightness) and brightness[-1] > brightness[0] + 40


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="Received: shoes"):
        write_variety(tmp_path, ["shoes"])
