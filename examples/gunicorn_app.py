"""A WSGI application in several processes, each of which sends its own tool calls.

    pip install toolspan gunicorn
    gunicorn --preload --workers 2 gunicorn_app:app
    curl http://127.0.0.1:8000/whales

`--preload` loads this module once, before the fork, and nothing else is needed: every worker gets a
queue, a connection and counters of its own. Without `--preload` each worker loads it for itself.
A worker that is recycled, reloaded or stopped sends what waits before it ends.
"""

from __future__ import annotations

import logging

import toolspan

logging.basicConfig(level=logging.INFO)
toolspan.configure(service_name="gunicorn-example")


@toolspan.tool
def look_up(topic):
    logging.getLogger("agent").info("look_up %s", topic)
    return f"three pages about {topic}"


def app(environ, start_response):
    answer = look_up(environ["PATH_INFO"].lstrip("/"))
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [answer.encode()]
