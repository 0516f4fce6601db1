"""What every framework answers."""

MESSAGE = {"message": "Hello, world!", "items": [1, 2, 3], "ok": True}
