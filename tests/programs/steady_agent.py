"""An agent that calls its two tools again and again: nothing in this file knows who is watching."""

import random
import sys
import time

from langchain_core.tools import tool

CALLS = int(sys.argv[1])
SLOWER = float(sys.argv[2])
CHANCE = random.Random(7)


def work():
    time.sleep(SLOWER * CHANCE.uniform(0.002, 0.010))


@tool
def look(number: int) -> str:
    """Look something up."""
    work()
    return f"found {number}"


@tool
def change(number: int) -> str:
    """Change something; it does not always work."""
    work()
    if number % 20 == 0:
        raise ValueError("not today")
    return "done"


if __name__ == "__main__":
    for number in range(CALLS):
        look.invoke(
            {"type": "tool_call", "id": f"l{number}", "name": "look", "args": {"number": number}}
        )
        try:
            change.invoke(
                {
                    "type": "tool_call",
                    "id": f"c{number}",
                    "name": "change",
                    "args": {"number": number},
                }
            )
        except ValueError:
            continue
