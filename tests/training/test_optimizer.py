import keras
import numpy as np

from far_keras.training.optimizer import build_optimizer


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rate = build_optimizer(0.5, 0.0, total_steps=100, warmup=0.2)._learning_rate
    rates = np.array([float(rate(step)) for step in range(101)])
    steps = np.arange(101)
    rising = 0.5 * steps / 20
    falling = 0.5 * (1 + np.cos(np.pi * (steps - 20) / 80)) / 2
    np.testing.assert_allclose(rates, np.where(steps < 20, rising, falling), atol=1e-6)


def test_without_warmup_it_starts_at_the_peak():
    rate = build_optimizer(0.5, 0.0, total_steps=10, warmup=0.0)._learning_rate
    assert float(rate(0)) == 0.5 and float(rate(10)) == 0


def test_decay_moves_kernels_but_no_bias_or_normalisation():
    layers = [keras.layers.Dense(3, bias_initializer="ones"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.layers[1].beta.assign(np.ones(3))
    optimizer = build_optimizer(0.5, 0.1, total_steps=10, warmup=0.0)
    before = [np.asarray(weight) for weight in model.trainable_variables]
    optimizer.build(model.trainable_variables)
    # With gradients of zero, Adam itself moves nothing.
    optimizer.apply([np.zeros(weight.shape, "float32") for weight in before])
    after = [np.asarray(weight) for weight in model.trainable_variables]
    factors = {"kernel": 1 - 0.5 * 0.1, "bias": 1.0, "gamma": 1.0, "beta": 1.0}
    assert {weight.name for weight in model.trainable_variables} == set(factors)
    for weight, old, new in zip(model.trainable_variables, before, after, strict=True):
        np.testing.assert_allclose(new, old * factors[weight.name], rtol=1e-6)


def test_a_slow_weight_takes_adamw_steps_of_its_rate():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 5))
    variables = [keras.Variable(value, dtype="float32", name="kernel") for value in values]
    optimizer = build_optimizer(
        0.1, 0.3, total_steps=10, warmup=0.0, slow=variables[1:], slow_rate=0.25
    )
    optimizer.build(variables)
    schedule = optimizer._learning_rate
    mean, square = np.zeros((2, 5)), np.zeros((2, 5))
    for step in range(1, 5):
        gradients = rng.normal(size=(2, 5))
        optimizer.apply(list(gradients.astype("float32")))
        mean = 0.9 * mean + 0.1 * gradients
        square = 0.999 * square + 0.001 * gradients**2
        adam = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-7)
        rates = float(schedule(step - 1)) * np.array([[1.0], [0.25]])
        values = values - rates * 0.3 * values
        values = values - rates * adam
    for variable, expected in zip(variables, values, strict=True):
        np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-4, atol=1e-5)
