"""Settings that must be made before TensorFlow is first used by any test."""

import tensorflow as tf

# Two logical devices, for tests of replicas.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
