"""A framework that toolspan knows nothing of: tools run themselves and never raise."""

import inspect
from dataclasses import dataclass
from typing import Any


@dataclass
class Answer:
    """What came of a tool."""

    value: Any = None
    error: BaseException | None = None


@dataclass
class Tool:
    """A function that a model may call."""

    name: str
    function: Any

    @property
    def schema(self):
        """What the model is told."""
        parameters = [str(one) for one in inspect.signature(self.function).parameters.values()]
        return {"name": self.name, "description": self.function.__doc__, "parameters": parameters}

    def run(self, arguments, call_id=None):
        """Run it; a failure is in the answer."""
        return answer(self.function, arguments)

    async def run_async(self, arguments, call_id=None):
        """Run it where a loop is."""
        return answer(self.function, arguments)


def answer(function, arguments):
    """Run a function, and say what came of it."""
    try:
        return Answer(function(**arguments))
    except BaseException as error:  # noqa: BLE001  # the model is told of it
        return Answer(error=error)
