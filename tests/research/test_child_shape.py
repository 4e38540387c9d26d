import re

import numpy as np
import pytest

from far_keras.faces.child_shape import ChildShape
from research.pretraining.child_shape import (
    COMPONENTS,
    SHARE,
    Faces,
    fit_child_shape,
    main,
    render_faces,
)

FACES = 200


def made_up(distance, seed):
    """Faces that vary in 60 directions; children lie `distance` standard deviations off in one."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(478, 3)) * 50
    directions = rng.normal(size=(60, 478 * 3))
    spread = np.linspace(2, 0.2, 60)
    rng = np.random.default_rng(seed)

    def draw(off):
        scores = rng.normal(size=(FACES, 60))
        scores[:, 1] += off
        return mean + (scores * spread @ directions).reshape(FACES, 478, 3) / 50

    return Faces(draw(0), draw(distance), {"women": np.arange(FACES) % 2 == 0})


def test_faces_that_differ_in_one_direction_are_separated_with_the_prior():
    fitted, others = fit_child_shape(made_up(4.0, seed=1)), made_up(4.0, seed=2)
    children, adults = (fitted.log_odds(x) for x in (others.children, others.adults))
    assert (children > 0).mean() > 0.85 and (adults > 0).mean() < 0.05
    # Between the two means only the prior counts.
    middle = (children.mean() + adults.mean()) / 2
    assert middle == pytest.approx(np.log(SHARE / (1 - SHARE)), abs=1)


def test_equal_faces_get_the_prior():
    fitted, others = fit_child_shape(made_up(0.0, seed=1)), made_up(0.0, seed=2)
    odds = fitted.log_odds(others.adults)
    assert odds.mean() == pytest.approx(np.log(SHARE / (1 - SHARE)), abs=0.5)
    assert (odds > 0).mean() < 0.05


def test_too_few_faces_are_an_error():
    few = Faces(*(np.zeros((2 * COMPONENTS, 478, 3)),) * 2, {})
    with pytest.raises(ValueError, match=f"more than {2 * COMPONENTS} of each. Received"):
        fit_child_shape(few)


@pytest.mark.slow
def test_rendered_children_are_separated_from_the_same_people_as_adults():
    """With people outside the fit."""
    faces = render_faces(range(50_001, 50_013), workers=1)
    odds = ChildShape.load().log_odds
    assert len(faces.children) >= 10 and len(faces.adults) >= 10
    women, men, *heads = faces.kinds.values()
    assert (women ^ men).all() and (np.sum(heads, axis=0) == 1).all()
    assert (odds(faces.children) > 0).mean() >= 0.5
    assert (odds(faces.adults) > 0).mean() <= 0.1


def test_the_command_writes_the_shape_and_prints_its_errors(tmp_path, monkeypatch, capsys):
    rendered = []

    def render(numbers, workers):
        rendered.append((numbers[0], len(numbers), workers))
        return made_up(4.0, seed=numbers[0])

    monkeypatch.setattr("research.pretraining.child_shape.render_faces", render)
    out = tmp_path / "shape.npz"
    main([str(out), "--people", "90", "--workers", "2"])
    assert rendered == [(1, 90, 2), (91, 30, 2)]  # other people than those of the fit
    assert ChildShape.load(out).weights.shape == (468, 3)
    lines = capsys.readouterr().out
    assert re.search(rf"\d+ of {FACES} children\n.* of {FACES // 2} adults \(women\)", lines)
