import keras
import numpy as np
import pytest

from far_keras.training.metrics import AttributeAccuracy, MaskIoU, MeanAUC

RNG = np.random.default_rng(0)


def pair_auc(labels, scores):
    """The share of (positive, negative) pairs in the right order; ties count half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    difference = positive[:, None] - negative[None, :]
    return (difference > 0).mean() + (difference == 0).mean() / 2


def stream(metric, y_true, y_pred, batch=50):
    for start in range(0, len(y_true), batch):
        metric.update_state(y_true[start : start + batch], y_pred[start : start + batch])
    return float(metric.result())


def test_mean_auc_equals_pair_counting():
    labels = RNG.integers(-1, 2, (500, 6)).astype("float32")
    logits = (RNG.normal(0, 3, (500, 6)) + 2 * labels).astype("float32")
    labels[:, 2] = np.where(labels[:, 2] == 1, -1, labels[:, 2])  # no positive: left out
    labels[:, 4] = -1  # nothing known: left out
    expected = np.mean([pair_auc(labels[:, a], logits[:, a]) for a in (0, 1, 3, 5)])
    # Only pairs that share one of the 1024 bins can be miscounted, and by half.
    assert abs(stream(MeanAUC(6), labels, logits) - expected) < 5e-4


def test_mean_auc_orders_logits_beyond_its_limit_as_ties():
    labels, logits = np.array([[0.0], [1.0]]), np.array([[100.0], [200.0]])
    assert stream(MeanAUC(1), labels, logits) == 0.5
    assert stream(MeanAUC(1), labels, -logits / 1e6) == 0.5
    assert stream(MeanAUC(1), labels, np.array([[-1e9], [1e9]])) == 1


def test_accuracy_counts_known_labels_only():
    labels = np.array([[1, 0, -1], [1, -1, -1]], "float32")
    logits = np.array([[2, 1, 5], [-1, 3, -3]], "float32")
    assert stream(AttributeAccuracy(), labels, logits) == pytest.approx(1 / 3)


def test_mask_iou_equals_the_reference_and_skips_images_without_masks():
    masks = (RNG.uniform(size=(12, 8, 8, 3)) > 0.5).astype("float32")
    masks[3] = masks[7] = -1
    masks[..., 2] = np.minimum(masks[..., 2], 0)  # a group that is never there ...
    logits = RNG.normal(size=masks.shape).astype("float32")
    logits[..., 2] = -1  # ... and is never predicted
    known = masks[[i for i in range(12) if i not in (3, 7)]] > 0.5
    predicted = logits[[i for i in range(12) if i not in (3, 7)]] > 0
    iou = [(known & predicted)[..., g].sum() / (known | predicted)[..., g].sum() for g in range(2)]
    assert stream(MaskIoU(3), masks, logits, 5) == pytest.approx(np.mean(iou), rel=1e-6)


@pytest.mark.parametrize(
    "metric, shape",
    [(AttributeAccuracy(), (4, 3)), (MeanAUC(3), (4, 3)), (MaskIoU(3), (4, 5, 5, 3))],
    ids=["accuracy", "auc", "iou"],
)
def test_nothing_known_is_finite_and_reset_forgets(metric, shape):
    metric.update_state(np.ones(shape), np.ones(shape))
    metric.reset_state()
    assert stream(metric, -np.ones(shape), np.ones(shape)) == 0


@pytest.mark.parametrize(
    "metric, arguments",
    [
        (MeanAUC, {"attributes": 3, "name": "a"}),
        (MaskIoU, {"groups": 3, "name": "b"}),
        (AttributeAccuracy, {"name": "c"}),
    ],
)
def test_metrics_reload_from_their_config(metric, arguments):
    made = metric(**arguments)
    config = made.get_config()
    assert {key: config[key] for key in arguments} == arguments
    copy = keras.metrics.deserialize(keras.metrics.serialize(made))
    assert isinstance(copy, metric) and copy.get_config() == config
