"""The optimiser: AdamW with a linear warm-up and a cosine decay."""

from __future__ import annotations

import keras

__all__ = ["build_optimizer"]


def build_optimizer(
    learning_rate: float, weight_decay: float, total_steps: int, warmup: float
) -> keras.optimizers.Optimizer:
    """AdamW whose learning rate rises linearly to its peak and falls as a half cosine to 0.

    Args:
        learning_rate: The peak.
        weight_decay: Decoupled decay, multiplied with the learning rate. Biases and the
            normalisations' gamma and beta are exempt.
        total_steps: Steps of the whole training.
        warmup: Share of `total_steps` in which the learning rate rises.
    """
    warmup_steps = round(warmup * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(total_steps - warmup_steps, 1),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay)
    # Keras matches either a variable's name, "bias", or TensorFlow's, "dense/bias:0".
    optimizer.exclude_from_weight_decay(var_names=[r"(^|/)(bias|gamma|beta)(:\d+)?$"])
    return optimizer
