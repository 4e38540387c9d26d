import io

import numpy as np
from PIL import Image

from far_keras.datasets.manifest import Manifest, Shard
from far_keras.datasets.records import FaceRecord, write_shard
from far_keras.evaluation.predict import SplitPredictions, read_faces
from far_keras.evaluation.report import Mistake, worst_mistakes
from far_keras.schema import REGIONS


def test_the_surest_wrong_answers_come_first_one_a_picture():
    labels = np.array([[1, 0], [0, 0], [1, -1], [1, 1], [1, 1]], np.int8)
    probabilities = np.array([[0.02, 0.99], [0.9, 0.1], [0.2, 1.0], [0.04, 0.9], [0.8, 0.9]])
    said = SplitPredictions(labels, probabilities, np.zeros_like(probabilities))
    found = worst_mistakes(("A", "B"), said, count=10, each=2)
    # Row 0 is worse in B than in A; row 2 would be A's third; row 4 is right.
    assert found == [
        Mistake(0, "B", 0, 0.99),
        Mistake(3, "A", 1, 0.04),
        Mistake(1, "A", 0, 0.9),
    ]
    assert worst_mistakes(("A", "B"), said, count=1) == found[:1]
    assert (
        str(Mistake(0, "Wavy_Hair", 1, 0.04)) == "Wavy Hair: predicted no (96% sure), labelled yes"
    )


def test_faces_are_read_across_files(tmp_path):
    def png(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")  # lossless, unlike the records' usual JPEG
        return file.getvalue()

    packed = np.zeros((218, 178), np.uint8)
    packed[10:20] = 1 << REGIONS.index("nose")
    shards = []
    for s, count in enumerate((3, 2)):
        pictures = (
            FaceRecord(
                f"{s}{k}", png(np.full((218, 178, 3), 10 * s + k, np.uint8)),
                np.ones(1, np.int8), masks=b"" if k else png(packed),
            )
            for k in range(count)
        )  # fmt: skip
        size = write_shard(tmp_path / f"{s}.rec", pictures)
        shards.append(Shard(f"{s}.rec", "test", count, size))
    Manifest("faces", ("A",), False, "0", tuple(shards)).write(tmp_path)
    faces = read_faces(tmp_path, "test", [4, 1, 3])
    assert {row: int(image[0, 0, 0]) for row, (image, _) in faces.items()} == {1: 1, 3: 10, 4: 11}
    assert faces[4][1] is None
    masks = faces[3][1]
    assert masks.shape == (218, 178, 8)
    assert masks[..., REGIONS.index("nose")].sum() == masks.sum() == 10 * 178
