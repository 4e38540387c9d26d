"""Settings that must be made before TensorFlow is first used by any test."""

from pathlib import Path

import pytest

from far_keras.quiet import quiet

TESTS = Path(__file__).parent

with quiet():
    import tensorflow as tf

    # Two logical devices, for tests of replicas.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


def pytest_itemcollected(item):
    """Keeps a folder's tests in one process (pytest-xdist), which creates their fixtures once."""
    if item.path.is_relative_to(TESTS):
        parts = item.path.relative_to(TESTS).parts
        # The server and its client share nothing; all else in a folder of tests/ does.
        depth = 2 if parts[0] == "serving" and len(parts) > 2 else 1
        item.add_marker(pytest.mark.xdist_group("/".join(parts[:depth])))
