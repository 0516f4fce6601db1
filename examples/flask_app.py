"""Flask: JSON, a form, a streamed response.

pip install flask
server --app-dir examples flask_app:app
"""

from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/")
def index() -> Response:
    return jsonify(message="Hello from Ferrule.")


@app.post("/greet")
def greet() -> Response:
    """`curl -d name=Ada http://127.0.0.1:8000/greet`."""
    return jsonify(message=f"Hello, {request.form.get('name', 'stranger')}.")


@app.get("/count")
def count() -> Response:
    def lines() -> Iterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    return Response(lines(), mimetype="text/plain")
