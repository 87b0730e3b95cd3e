"""Tasks in forked worker processes, each of which sends its own tool calls.

    pip install toolspan celery
    celery --app celery_app worker --loglevel INFO --concurrency 2
    python celery_app.py whales tides maps

The queue is a folder, so that no broker is needed; CELERY_BROKER_URL names a real one. Celery ends
its processes without Python's goodbyes: what waits is sent when one of them is told to shut down.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_shutdown

import toolspan

Path("queue").mkdir(exist_ok=True)
folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), "queue")
app = Celery("celery_app", broker="filesystem://")
app.conf.update(broker_transport_options=folders, task_ignore_result=True)
toolspan.configure(service_name="celery-example")


@toolspan.tool
def look_up(topic):
    logging.getLogger("agent").info("look_up %s", topic)
    return f"three pages about {topic}"


@app.task
def research(topic):
    return look_up(topic)


@worker_process_shutdown.connect
def send_what_waits(**_):
    toolspan.flush(2)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        research.delay(word)
