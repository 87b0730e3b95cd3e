"""An ASGI application in several processes, each of which sends its own tool calls.

    pip install toolspan uvicorn
    uvicorn --workers 2 uvicorn_app:app
    curl http://127.0.0.1:8000/whales

uvicorn ends a worker with a signal and leaves Python no time for goodbyes: the application itself
sends what waits, when it is told to shut down. With Starlette or FastAPI that line stands in
`lifespan`, after the `yield`.
"""

from __future__ import annotations

import asyncio
import logging

import toolspan

logging.basicConfig(level=logging.INFO)
toolspan.configure(service_name="uvicorn-example")


@toolspan.tool
async def look_up(topic):
    logging.getLogger("agent").info("look_up %s", topic)
    return f"three pages about {topic}"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    answer = await look_up(scope["path"].lstrip("/"))
    plain = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": plain})
    await send({"type": "http.response.body", "body": answer.encode()})


async def lifespan(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(toolspan.flush, 2)
    await send({"type": "lifespan.shutdown.complete"})
