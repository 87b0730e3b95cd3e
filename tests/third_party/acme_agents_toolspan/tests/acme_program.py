"""Real tools of Acme Agents, called."""

import asyncio
import json

from acme_agents import Tool


def echo(value):
    """Give it back."""
    return value


KEEP = Tool("keep", echo)
DOORS = {
    "injected": lambda value: KEEP.run({"value": value}).value,
    "async": lambda value: asyncio.run(KEEP.run_async({"value": value}, "call-1")).value,
}
OBJECTS = {"tool": KEEP, "class": Tool, "run": KEEP.run}


def call(value):
    return KEEP.run({"value": value}).value


def raising(error):
    def fail():
        raise error

    raise Tool("fail", fail).run({}).error


def named(name):
    return Tool(name, lambda: "ok").run({}).value


def schemas():
    return json.dumps(Tool("echo", echo).schema)
