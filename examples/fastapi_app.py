"""FastAPI: JSON, a path parameter, a streamed response, work after the response.

pip install fastapi
server --app-dir examples fastapi_app:app
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI(title="Ferrule example")
logger = logging.getLogger(__name__)


@app.get("/")
async def index() -> dict[str, str]:
    return {"message": "Hello from Ferrule."}


@app.get("/items/{item_id}")
async def item(item_id: int, q: str | None = None) -> dict[str, int | str | None]:
    return {"item_id": item_id, "q": q}


@app.get("/events")
async def events() -> StreamingResponse:
    """Server-sent events: `curl -N http://127.0.0.1:8000/events`."""

    async def ticks() -> AsyncIterator[str]:
        for number in range(5):
            yield f"data: tick {number}\n\n"
            await asyncio.sleep(1)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.post("/notify")
async def notify(tasks: BackgroundTasks) -> dict[str, str]:
    """Answers at once; the next request on the same connection does not wait for the task."""

    async def send_mail() -> None:
        await asyncio.sleep(1)
        logger.info("mail sent")

    tasks.add_task(send_mail)
    return {"status": "queued"}
