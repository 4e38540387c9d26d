"""Training: losses, metrics, configuration, and the trainer that puts them together."""
