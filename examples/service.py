"""A web service on FastAPI; threads share one `Recognizer`.

pip install far_keras fastapi uvicorn
uvicorn service:app --port 8080
curl --data-binary @photo.jpg http://127.0.0.1:8080/predict
"""

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from far_keras import Recognizer
from far_keras.errors import ImageError

MAX_BYTES = 20_000_000

app = FastAPI(title="Face attributes")
recognizer = Recognizer()


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """The faces of the image in the request's body."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MAX_BYTES:
            raise HTTPException(413, f"expected at most {MAX_BYTES:,} bytes")
    try:
        result = await run_in_threadpool(recognizer, content, strict=True)
    except ImageError as error:
        raise HTTPException(422, str(error)) from error
    return result.to_dict()
