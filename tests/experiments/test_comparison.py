import numpy as np
import pytest

from far_keras.experiments.comparison import compare
from far_keras.experiments.jobs import Said

LABELS = np.random.default_rng(0).integers(0, 2, (300, 6)).astype(np.int8)


def said(noise, seed):
    """Answers that are right but for noise."""
    rng = np.random.default_rng(seed)
    scores = 0.5 + 0.2 * (LABELS - 0.5) + noise * rng.normal(size=LABELS.shape)
    return Said(LABELS, scores, np.full(6, 0.5), None)


def rows(**arms):
    return {row.name: row for row in compare(arms, "mgmtn", resamples=300)}


def test_a_better_arm_is_better_with_an_interval_above_0():
    found = rows(mgmtn=[said(0.3, s) for s in range(3)], better=[said(0.1, s) for s in range(3)])
    middle, low, high = found["better"].differences["roc_auc"]
    assert 0 < low < middle < high
    assert middle == pytest.approx(
        found["better"].means["roc_auc"] - found["mgmtn"].means["roc_auc"]
    )
    assert found["mgmtn"].differences == {}
    assert found["mgmtn"].seeds == 3
    assert 0 < found["mgmtn"].spread["roc_auc"] < 0.1


def test_the_same_answers_differ_by_nothing():
    same = [said(0.2, s) for s in range(2)]
    assert rows(mgmtn=same, twin=same)["twin"].differences["accuracy"] == (0, 0, 0)


def test_seeds_that_disagree_widen_the_interval():
    steady = [said(0.2, 1)] * 3
    calm = rows(mgmtn=steady, other=[said(0.25, 2)] * 3)["other"].differences["roc_auc"]
    wild = rows(mgmtn=steady, other=[said(n, 2) for n in (0.1, 0.25, 0.8)])
    wild = wild["other"].differences["roc_auc"]
    assert wild[2] - wild[1] > 1.5 * (calm[2] - calm[1])


def test_columns_choose_the_attributes():
    good, bad = said(0.1, 0), said(1.0, 0)
    mixed = Said(
        LABELS, np.where(np.arange(6) < 3, good.probabilities, bad.probabilities),
        good.thresholds, np.full((300, 2), 0.5),
    )  # fmt: skip
    easy, hard = (
        compare({"mgmtn": [mixed]}, "mgmtn", columns=columns, resamples=20)[0]
        for columns in ([0, 1, 2], [3, 4, 5])
    )
    assert easy.means["roc_auc"] > hard.means["roc_auc"] + 0.2
    assert easy.iou == 0.5
    assert np.isnan(easy.spread["roc_auc"])
