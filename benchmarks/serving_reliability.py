"""What becomes of the local server under abuse. Ends with status 1 if anything is not as it should.

    python benchmarks/serving_reliability.py malformed --count 10000
    python benchmarks/serving_reliability.py kill --minutes 2      # kill -9 and restart under load
    python benchmarks/serving_reliability.py reload --minutes 10   # new versions under load
    python benchmarks/serving_reliability.py reload --minutes 10 --tiny  # thousands of them
    python benchmarks/serving_reliability.py soak --minutes 15     # memory

Without `--models` each serves `mgmtn_mobilenetv3small` with random weights. `--tiny` takes a model
that loads in no time, so that reloads try the server rather than TensorFlow's loader.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from serving_load import kill, malformed, reload, soak
from serving_models import export_variant, write_tiny


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("malformed", "kill", "reload", "soak"))
    parser.add_argument("--models", type=Path, help="folder of one exported model's versions")
    parser.add_argument("--tiny", action="store_true", help="a model of one matrix; not malformed")
    parser.add_argument("--count", type=int, default=10_000, help="malformed requests")
    parser.add_argument("--reloads", type=int, default=5_000, help="at most so many")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="side of the model's images")
    parser.add_argument("--batching", action="store_true")
    options = parser.parse_args()
    if options.tiny and (options.what == "malformed" or options.models):
        parser.error("--tiny goes with kill, reload and soak, and without --models")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "model"
        if options.tiny:
            write_tiny(models)
        elif options.models is None:
            export_variant("mgmtn_mobilenetv3small", models)
        else:  # a copy: new versions are added to it
            latest = max(
                (path for path in options.models.iterdir() if path.name.isdigit()),
                key=lambda path: int(path.name),
            )
            shutil.copytree(latest, models / "1")
        run = {"malformed": malformed, "kill": kill, "reload": reload, "soak": soak}[options.what]
        problems = run(models, options)
    for problem in problems[:20]:
        print(f"NOT AS IT SHOULD: {problem}")
    print("as it should" if not problems else f"{len(problems)} problems")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
