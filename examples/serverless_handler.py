"""A function of a serverless platform, whose process is frozen as soon as it has answered.

    pip install toolspan
    echo '{"topic": "whales"}' | python serverless_handler.py

The platform calls `handler`; run as a program, it answers one event for each line. A frozen process
sends nothing and may never thaw, hence the flush: at most two seconds, and then the answer.
"""

from __future__ import annotations

import json
import logging
import sys

import toolspan

logging.basicConfig(level=logging.INFO)
toolspan.configure(service_name="serverless-example")


@toolspan.tool
def look_up(topic):
    logging.getLogger("agent").info("look_up %s", topic)
    return f"three pages about {topic}"


def handler(event, context):
    try:
        return {"statusCode": 200, "body": look_up(event["topic"])}
    finally:
        toolspan.flush(2)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(handler(json.loads(line), None)), flush=True)
