"""JSON by FastAPI."""

from typing import Any

from fastapi import FastAPI

from benchmarks.frameworks.payload import MESSAGE

app = FastAPI(openapi_url=None)


@app.get("/json")
async def message() -> dict[str, Any]:
    return MESSAGE
