"""Python imports this before a program's first line: the witness watches from there."""

import os

if os.environ.get("WITNESS"):
    import witness

    witness.watch_every_provider()
