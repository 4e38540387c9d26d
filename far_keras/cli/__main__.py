"""``python -m far_keras.cli`` is ``far-keras``."""

import sys

from far_keras.cli.program import main

sys.exit(main())
