"""An agent as anybody writes one: nothing in this file knows who is watching."""

import json
import sys
from pathlib import Path

from langchain_core.tools import tool

COUNTER = Path(sys.argv[1])


def count(name):
    with COUNTER.open("a") as file:
        file.write(name + "\n")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    count("add")
    return a + b


@tool
def fail(text: str) -> str:
    """Fail."""
    count("fail")
    raise ValueError(text)


if __name__ == "__main__":
    print(
        add.invoke(
            {"type": "tool_call", "id": "c1", "name": "add", "args": {"a": 1, "b": 2}}
        ).content
    )
    try:
        fail.invoke({"text": "canary-7391"})
    except ValueError as error:
        print(json.dumps(str(error)))
