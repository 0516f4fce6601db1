"""JSON by Flask."""

from typing import Any

from flask import Flask

from benchmarks.frameworks.payload import MESSAGE

app = Flask(__name__)


@app.get("/json")
def message() -> dict[str, Any]:
    return MESSAGE
