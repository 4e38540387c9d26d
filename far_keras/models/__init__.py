"""Networks, the variants that have a name, their ImageNet weights, and how models are stored."""
