"""The authors' tools: studies of the networks, and how the packaged model is made.

Not part of the wheel. They import far_keras; nothing in far_keras imports them. Run them from the
top-level folder, such as ``python -m research.ablation --help``.
"""
