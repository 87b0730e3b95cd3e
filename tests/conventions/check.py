"""Hold spans against the OpenTelemetry GenAI and MCP conventions, and our own against our rules.

The conventions come from table.json, which generate.py makes. A span that is an executed tool
and an MCP request at once may carry the attributes of both: the conventions ask an MCP client
under a traced tool to write onto that tool's span, and call both kinds of span compatible.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

Row = Mapping[str, Any]
TABLE: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("table.json").read_bytes())
SPANS: Final[dict[str, Row]] = TABLE["spans"]
EXECUTE_TOOL: Final = "gen_ai.execute_tool.internal"
INVOKE_AGENT: Final = "gen_ai.invoke_agent.internal"
OPERATION: Final = "gen_ai.operation.name"
METHOD: Final = "mcp.method.name"
STATUS_CODE: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"

#: The scope whose spans keep the rules of docs/attributes.md, and what stands there.
SCOPE: Final = "toolspan"
OUTCOME: Final = "toolspan.outcome"
FAILURES: Final = frozenset(
    ["error", "tool_error", "invalid_arguments", "unknown_tool", "timeout", "abandoned"]
)
WORDS: Final = FAILURES | {"ok", "denied", "interrupted", "cancelled"}
#: What a tool of a well-known family says more, which comes on top of the 25.
DETAIL: Final = ("detail.lines", "detail.bytes", "detail.matches")
REGISTRY: Final[dict[str, Row]] = {
    "process.exit.code": {"type": "int"},
    "process.command_line": {"type": "string"},
    "file.path": {"type": "string"},
    "url.full": {"type": "string"},
    "http.response.status_code": {"type": "int"},
}
OURS: Final[dict[str, Row]] = {
    f"toolspan.{name}": {"type": kind}
    for kind, names in {
        "string": ("outcome", "arguments.fingerprint", "tool.fingerprint", "tool.family"),
        "int": ("arguments.size", "result.size", "attempt", "attempts", *DETAIL),
        "boolean": ("arguments.truncated", "result.truncated", "cached", "stream.complete"),
        "double": ("wait",),
    }.items()
    for name in names
}
#: A resource with this attribute marks spans made wrong on purpose: `watch` leaves them out.
HANDMADE: Final = "toolspan.handmade"

_KNOWN: Final[dict[str, Row]] = TABLE["attributes"] | REGISTRY | OURS
_TEMPLATES: Final = [name for name, row in _KNOWN.items() if row["type"].startswith("template[")]
_TYPES: Final = {"string": str, "int": int, "double": float, "boolean": bool}
#: Open enums of which every MCP transport is a member.
_CLOSED: Final = {"network.transport"}
#: What a request is about, by its method: a condition that stands in sentences only.
_ABOUT: Final = {
    "tools/call": {"gen_ai.tool.name"},
    "prompts/get": {"gen_ai.prompt.name"},
    "resources/read": {"mcp.resource.uri"},
    "resources/subscribe": {"mcp.resource.uri"},
    "resources/unsubscribe": {"mcp.resource.uri"},
}


def violations(span: ReadableSpan) -> list[str]:
    """What is held against a span, one sentence each; declared gaps are not taken out."""
    given: Row = span.attributes or {}
    failed = span.status.status_code is StatusCode.ERROR
    kind = span_type(span)
    found = [*_unknown_names(given), *_wrong_values(given), *_status(given, failed)]
    if kind is None:
        found.append(f"neither {OPERATION} nor {METHOD} says what span this is")
    else:
        row = SPANS[kind]
        found += [*_missing(row, given), *_misplaced(kind, given), *_shape(span, row, given)]
        found += _status_code(row, given, failed)
    if _scope(span) == SCOPE:
        found += _our_rules(span, given, failed)
    return [f"{span.name}: {sentence}" for sentence in found]


def span_type(span: ReadableSpan) -> str | None:
    """The span's type in the table, from its operation or its MCP method, then from its kind."""
    given = span.attributes or {}
    tool = given.get(OPERATION) == "execute_tool" and span.kind is SpanKind.INTERNAL
    if METHOD in given and not tool:
        fitting = [kind for kind, row in SPANS.items() if METHOD in row["attributes"]]
    else:
        fitting = [kind for kind, row in SPANS.items() if given.get(OPERATION) in row["operations"]]
    exact = [kind for kind in fitting if span.kind.name.lower() in SPANS[kind]["kinds"]]
    return next(iter(exact or fitting), None)


def _scope(span: ReadableSpan) -> str | None:
    return span.instrumentation_scope.name if span.instrumentation_scope else None


def _defined(name: str) -> str | None:
    """The name under which the table knows an attribute: `x.{key}` stands there as `x`."""
    if name in _KNOWN:
        return name
    return next((stem for stem in _TEMPLATES if name.startswith(f"{stem}.")), None)


def _unknown_names(given: Row) -> Iterator[str]:
    for name in given:
        if name.startswith(("gen_ai.", "mcp.", "toolspan.")) and _defined(name) is None:
            near = get_close_matches(name, _KNOWN, 1)
            yield f"{name} is defined nowhere" + (f", meant is {near[0]}" if near else "")


def _misplaced(kind: str, given: Row) -> Iterator[str]:
    fitting = {kind} | ({EXECUTE_TOOL} if given.get(OPERATION) == "execute_tool" else set())
    fitting |= {"mcp.client"} if METHOD in given else set()
    allowed = {name for each in fitting for name in SPANS[each]["attributes"]}
    for name in given:
        if name.startswith(("gen_ai.", "mcp.")) and _defined(name) not in {None, *allowed}:
            yield f"{name} does not belong on {kind}"


def _wrong_values(given: Row) -> Iterator[str]:
    for name, value in given.items():
        row = _KNOWN.get(_defined(name) or "", {"type": "any"})
        if not _is(value, row["type"]):
            yield f"{name} is {value!r}, not {row['type']}"
        elif value not in row.get("members", [value]):
            yield from _no_member(name, value, row)
    if " " in str(given.get(ERROR_TYPE)):
        yield f"{ERROR_TYPE} is a sentence"


def _is(value: object, kind: str) -> bool:
    kind = kind[len("template[") : -1] if kind.startswith("template[") else kind
    if kind.endswith("[]"):
        return type(value) is tuple and all(_is(item, kind[:-2]) for item in value)
    return kind == "any" or type(value) is _TYPES[kind]


def _no_member(name: str, value: object, row: Row) -> Iterator[str]:
    near = [member for member in row["members"] if _plain(member) == _plain(value)]
    if near:
        yield f"{name} is {value!r}, to be written {near[0]!r}"
    elif name in _CLOSED or not row["open"]:
        yield f"{name} is {value!r}, none of {', '.join(map(str, row['members']))}"


def _plain(value: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(value).lower())


def _missing(row: Row, given: Row) -> list[str]:
    due = {name for name, level in row["attributes"].items() if level == "required"}
    due |= {name for name, other in row["due_with"].items() if other in given}
    if METHOD in row["attributes"]:
        due |= _due_on_request(given)
    return [f"{name} is required and missing" for name in sorted(due - given.keys())]


def _due_on_request(given: Row) -> set[str]:
    method = str(given.get(METHOD))
    due = set(_ABOUT.get(method, ()))
    # Client and server in one process may exchange no JSON-RPC at all, and name no transport.
    if "network.transport" in given and not method.startswith("notifications/"):
        due.add("jsonrpc.request.id")
    if re.fullmatch(r"-\d+", str(given.get(ERROR_TYPE))):
        due.add(STATUS_CODE)
    return due


def _shape(span: ReadableSpan, row: Row, given: Row) -> Iterator[str]:
    kind = span.kind.name.lower()
    if kind not in row["kinds"]:
        yield f"its kind is {kind}, not {' or '.join(row['kinds'])}"
    holes = re.compile(r"{([^}]+)}")
    filled = (form for form in row["names"] if all(hole in given for hole in holes.findall(form)))
    form = next(filled, row["names"][-1])
    name = holes.sub(lambda hole: str(given.get(hole[1], "")), form).strip()
    if span.name != name:
        yield f"its name is not {name!r}"


def _status(given: Row, failed: bool) -> Iterator[str]:
    if failed and ERROR_TYPE not in given:
        yield f"its status is ERROR and {ERROR_TYPE} is missing"
    if not failed and ERROR_TYPE in given:
        yield f"{ERROR_TYPE} is set and its status is not ERROR"


def _status_code(row: Row, given: Row, failed: bool) -> Iterator[str]:
    code = given.get(STATUS_CODE)
    if code is None or METHOD not in row["attributes"]:
        return
    if (code in row["harmless_codes"]) is failed:
        says, is_not = ("no error", "ERROR") if failed else ("an error", "not ERROR")
        yield f"{STATUS_CODE} {code} is {says} on this side and its status is {is_not}"
    if failed and given.get(ERROR_TYPE) != code:
        yield f"{ERROR_TYPE} is not {STATUS_CODE} {code}"


def _our_rules(span: ReadableSpan, given: Row, failed: bool) -> Iterator[str]:
    outcome = given.get(OUTCOME)
    tool = given.get(OPERATION) == "execute_tool" or given.get(METHOD) == "tools/call"
    if outcome not in WORDS and (tool or outcome is not None):
        yield f"{OUTCOME} is {outcome!r}, none of its words"
    elif tool and (outcome in FAILURES) is not failed:
        yield f"{OUTCOME} is {outcome} and its status is {'ERROR' if failed else 'not ERROR'}"
    counted = [name for name in given if not name.startswith("toolspan.detail.")]
    ours = sum(name.startswith(("gen_ai.", "error.", "toolspan.")) for name in counted)
    if ours > 25:
        yield f"{ours} attributes of gen_ai, error and toolspan, at most 25"
    if len(given) > 60:
        yield f"{len(given)} attributes, at most 60"
    if not (span.instrumentation_scope and span.instrumentation_scope.schema_url):
        yield "its scope has no schema URL"


@dataclass(frozen=True)
class Gap:
    """A violation that we know and keep: on which spans, what is said, in which case, and why."""

    span: str
    says: str
    when: Callable[[Row], bool]
    why: str


def _carried(span: str, name: str) -> Gap:
    why = "what a run knows stands on all its spans, so that one query finds them"
    return Gap(span, f"{name} does not belong", lambda given: name in given, why)


def _refused(code: str, outcome: str) -> Gap:
    why = f"an outcome has one status wherever it is seen, and {outcome} is ERROR"
    says = f"{STATUS_CODE} {code} is no error on this side"
    return Gap("mcp.server", says, lambda given: given.get(STATUS_CODE) == code, why)


GAPS: Final = (
    _refused("-32602", "invalid_arguments"),
    _refused("-32601", "error"),
    *(
        _carried(span, name)
        for span in (EXECUTE_TOOL, "mcp.client", "mcp.server")
        for name in ("gen_ai.conversation.id", "gen_ai.workflow.name")
    ),
    _carried(INVOKE_AGENT, "gen_ai.workflow.name"),
    Gap(
        INVOKE_AGENT,
        "its name is not 'invoke_agent'",
        lambda given: "gen_ai.agent.name" not in given,
        "a run that names no agent is called what its user called it",
    ),
)


class Checker:
    """Checks many spans: `found` has what no gap declares, `close()` the gaps that are fixed."""

    def __init__(self, gaps: tuple[Gap, ...] = GAPS) -> None:
        self.gaps = gaps
        self.spans: Counter[str | None] = Counter()
        self.found: Counter[str] = Counter()
        self._met: set[Gap] = set()
        self._open: set[Gap] = set()

    def check(self, span: ReadableSpan) -> list[str]:
        """What is held against this span and declared by no gap."""
        kind, left = span_type(span), violations(span)
        self.spans[kind] += 1
        for gap in self.gaps:
            if gap.span == kind and gap.when(span.attributes or {}):
                self._met.add(gap)
                if any(gap.says in sentence for sentence in left):
                    self._open.add(gap)
                    left = [sentence for sentence in left if gap.says not in sentence]
        self.found.update(left)
        return left

    def close(self) -> list[str]:
        """The declared gaps whose case came up, and never with the violation."""
        fixed = [gap for gap in self.gaps if gap in self._met - self._open]
        return [f"{gap.span}: declared gap is fixed, remove it: {gap.says}" for gap in fixed]


WATCHED: Final = Checker()


def watch(span: ReadableSpan) -> None:
    """Check a span that toolspan opened; others, and those made wrong on purpose, are left out."""
    if _scope(span) == SCOPE and HANDMADE not in span.resource.attributes:
        WATCHED.check(span)
