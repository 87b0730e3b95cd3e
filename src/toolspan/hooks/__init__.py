"""The words an adapter is written in, and how they are placed in a framework and taken out."""

from toolspan.hooks.placement import (
    PLACEMENTS,
    Decision,
    Layer,
    Placement,
    Target,
    layered,
    parameters_of,
)
from toolspan.hooks.words import (
    Adapter,
    Enrich,
    Hook,
    Invocation,
    Mute,
    Propagate,
    Refusal,
    Run,
    RunFacts,
    Witness,
    WordOfAdapter,
    plain_outcome,
)

__all__ = [
    "PLACEMENTS",
    "Adapter",
    "Decision",
    "Enrich",
    "Hook",
    "Invocation",
    "Layer",
    "Mute",
    "Placement",
    "Propagate",
    "Refusal",
    "Run",
    "RunFacts",
    "Target",
    "Witness",
    "WordOfAdapter",
    "layered",
    "parameters_of",
    "plain_outcome",
]
