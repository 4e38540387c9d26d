"""How many faces per second one core renders.

    python benchmarks/render_speed.py --count 60

The first image, in which numba compiles or loads what it compiled before, is timed apart.
"""

from __future__ import annotations

import os

# Before numpy is imported: one core means one thread.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import time

import numpy as np

from far_keras.synthetic.labels import visible_labels
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="images")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    seconds = []
    for identity, index in Population(arguments.seed).images(arguments.count + 1):
        assert identity.person is not None
        shot = identity.shots[index]
        started = time.perf_counter()
        rendering = render(identity.person, shot)
        visible_labels(identity.person, shot, rendering.regions)
        seconds.append(time.perf_counter() - started)
    first, rest = seconds[0], np.array(seconds[1:])
    low, high = np.percentile(rest, [5, 95])
    print(f"first image {first:.2f} s")
    print(
        f"{len(rest) / rest.sum():.2f} images/s on one core "
        f"(mean {1000 * rest.mean():.0f} ms; 5% to 95%: {1000 * low:.0f} to {1000 * high:.0f} ms)"
    )


if __name__ == "__main__":
    main()
