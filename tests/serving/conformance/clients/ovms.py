"""Calls TF Serving's API with `ovmsclient` and prints the responses, as JSON.

python ovms.py TARGET MODEL PICTURE VERSION
"""

import json
import sys
from pathlib import Path

import ovmsclient

target, model, picture, version = sys.argv[1:]
content = Path(picture).read_bytes()
client = ovmsclient.make_grpc_client(target)
responses = {}

status = client.get_model_status(model, int(version))
responses["states"] = {number: one["state"] for number, one in status.items()}

metadata = client.get_model_metadata(model, int(version))
responses["version"] = metadata["model_version"]
responses["inputs"] = {
    name: [one["dtype"], one["shape"]] for name, one in metadata["inputs"].items()
}

outputs = client.predict({"image_bytes": [content]}, model, int(version))
responses["outputs"] = sorted(outputs)
responses["attributes"] = outputs["attributes"][0].tolist()

# It asks for version 0 where none is given: TF Serving takes that for a number.
for name, call in {
    "version 0": lambda: client.predict({"image_bytes": [content]}, model),
    "unknown": lambda: client.predict({"image_bytes": [content]}, "nobody", int(version)),
    "not an image": lambda: client.predict({"image_bytes": [b"x"]}, model, int(version)),
}.items():
    try:
        call()
    except Exception as error:
        responses[name] = type(error).__name__
print(json.dumps(responses))
