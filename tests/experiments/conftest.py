import pytest

from far_keras.datasets.annotate import annotate
from far_keras.datasets.opening import open_dataset
from far_keras.synthetic.dataset import synthesize


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """Records of 60 rendered faces."""
    folder = tmp_path_factory.mktemp("experiments")
    synthesize(folder / "faces", 60, seed=1, negatives=0.0)
    annotate(open_dataset(folder / "faces"), folder / "records")
    return folder / "records"
