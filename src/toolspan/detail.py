"""What well-known tools say more of: a shell its exit code, a file its lines, a page its status.

One table for all frameworks. A tool is of a family where its name and the shape of its arguments
agree, or where its arguments and its result have shapes that nothing else has. Only exact built-in
values are looked at, and what is physically stored in an object.

Source of the names and shapes: the tools themselves (tests/test_detail.py).
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_plus

from toolspan import semconv
from toolspan.content import render_entry, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from toolspan.content import Redactor
    from toolspan.toolcall import Outcome, ToolCall

Keys = tuple[str, ...]
Numbers = dict[str, Any]

_ENTRIES: Final = 64  # of a dict that are looked at
_ITEMS: Final = 1_000  # of a list whose texts are counted
_COUNTED: Final = 1_000_000  # characters of texts whose lines are counted
_PARSED: Final = 100_000  # characters of a text that may be JSON
_SHOWN: Final = 4_096  # bytes of a command, a path or a URL
_ENDS: Final = 2_048  # characters of a message, from its beginning and its end


class Number(NamedTuple):
    """A number that a result may tell, besides what is counted in it."""

    attribute: str
    keys: Keys
    #: Where an exception, or the response that it holds, has it.
    raised: Keys = ()
    #: How the text of a failure tells it.
    told: re.Pattern[str] | None = None
    among: range = range(-(1 << 63), 1 << 63)


class Family(NamedTuple):
    """Tools that do the same under many names."""

    #: In words: `mcp__files__readTextFile` is read_text_file.
    names: str
    #: Of each group of arguments one is given; what the first group gives is shown.
    takes: tuple[Keys, ...]
    #: As what it is shown, where content may leave.
    shows: str = ""
    #: What is counted: this argument, or else these parts of the result.
    writes: Keys = ()
    texts: Keys = ()
    says: tuple[Number, ...] = ()
    #: A result with one of each group proves the family, whatever the tool's name.
    proof: tuple[Keys, ...] = ()
    #: Whether the name may stand behind a prefix with no clearer mark than an underscore.
    prefixed: bool = True


_COMMAND: Final = ("command", "commands", "cmd")
_PATH: Final = ("file_path", "filePath", "path", "filename", "file_name", "absolute_path")
_NEW: Final = ("new_string", "new_str", "newText", "insert_text", "edits", "diff", "patch")
_TEXT: Final = ("content", "contents", "text", "file_text")
_SOUGHT: Final = ("pattern", "regex", "query", "search_query", "q")
_EXIT: Final = ("exit_code", "exitCode", "returncode", "return_code")
_STATUS: Final = ("status_code", "statusCode")
_CODE: Final = (*_STATUS, "code")
_CODES: Final = range(100, 600)
_PRINTED: Final = ("stdout", "stderr", "output")
_BODY: Final = ("content", "text", "body")
_EDITORS: Final = "str_replace_editor str_replace_based_edit_tool"
_EXITED: Final = re.compile(
    r"\AExit code:? (-?\d{1,9})\b|\bExit code: (-?\d{1,9})\s*\Z", re.IGNORECASE
)
_REFUSED: Final = re.compile(
    r"(?:Error|Failed)\b[^\n]*?"
    r"(?: - status code ([45]\d\d)\s*\Z|: ([45]\d\d) (?:Client|Server) Error: )"
)

#: In the order in which they are asked: the editors' tools are of three families.
FAMILIES: Final[dict[str, Family]] = {
    "shell": Family(
        "bash shell terminal powershell local_shell shell_command shell_exec exec_command run_bash "
        "run_shell_command execute_shell_command run_bash_command execute_bash run_terminal_cmd "
        "run_terminal_command run_in_terminal",
        (_COMMAND,),
        shows=semconv.COMMAND_LINE,
        texts=_PRINTED,
        says=(Number(semconv.EXIT_CODE, _EXIT, ("returncode",), _EXITED),),
        proof=(_EXIT, _PRINTED),
        prefixed=False,
    ),
    "file_write": Family(
        "write write_file file_write create_file save_file write_to_file write_text_file "
        f"create_text_file file_writer_tool {_EDITORS}",
        (_PATH, _TEXT),
        shows=semconv.FILE_PATH,
        writes=_TEXT,
    ),
    "file_edit": Family(
        "edit edit_file file_edit multi_edit multiedit replace str_replace replace_in_file "
        f"search_replace apply_diff {_EDITORS}",
        (_PATH, _NEW),
        shows=semconv.FILE_PATH,
        writes=_NEW,
    ),
    "file_read": Family(
        "read read_file read_text_file file_read view_file read_file_content "
        f"read_a_file_s_content {_EDITORS}",
        (_PATH,),
        shows=semconv.FILE_PATH,
        texts=_TEXT,
    ),
    "search": Family(
        "grep glob ripgrep search_files file_search find_files glob_search grep_search "
        "search_file_content search_in_files web_search websearch duckduckgo_search "
        "duckduckgo_results_json tavily_search tavily_search_results_json brave_search "
        "brave_web_search google_search exa_search search_the_internet_with_serper",
        (_SOUGHT,),
        texts=("matches", "results", "filenames"),
        says=(Number(semconv.MATCHES, ("numMatches", "numLines", "numFiles")),),
    ),
    "web_fetch": Family(
        "fetch fetch_url web_fetch webfetch visit_webpage requests_get http_get http_request "
        "get_url scrape_website read_website_content navigate_browser",
        (("url", "website_url"),),
        shows=semconv.URL,
        texts=_BODY,
        says=(
            Number(semconv.HTTP_STATUS, _CODE, (*_CODE, "status"), _REFUSED, _CODES),
            Number(semconv.BYTES, ("bytes",)),
        ),
        proof=(_STATUS, (*_BODY, "headers")),
    ),
    "sub_agent": Family(
        "task agent delegate_work_to_coworker ask_question_to_coworker",
        (("subagent_type", "coworker"), ("prompt", "description", "task", "question")),
    ),
}
_NAMES: Final = {family: frozenset(row.names.split()) for family, row in FAMILIES.items()}
_PROVING: Final = frozenset(_EXIT + _STATUS)  # of each proof the first group
_SEARCH: Final = FAMILIES["search"]
_LIKE: Final = {"pattern", "regex"}  # what is sought in files, and found line by line
_PREFIX: Final = re.compile(r"__|[./:]")
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def families_of(name: str) -> tuple[str, ...]:
    """The families that a tool of this name may be of: asked once for each tool."""
    words = [word.lower() for word in _WORDS.findall(_PREFIX.split(name)[-1])]
    whole = {"_".join(words)}
    tails = whole | {"_".join(words[at:]) for at in range(1, len(words) - 1)}
    return tuple(
        family
        for family, row in FAMILIES.items()
        if not _NAMES[family].isdisjoint(tails if row.prefixed else whole)
    )


def recognise(call: ToolCall, families: Iterable[str]) -> Numbers:
    """The first of `families` that fits the arguments, now the call's, and what it writes."""
    given = _entries(call.arguments)
    for family in families:
        row = FAMILIES[family]
        if all(any(_fits(key, given.get(key)) for key in group) for group in row.takes):
            call.family = family
            return {semconv.TOOL_FAMILY: family, **_written(given, row)}
    return {}


def hints(result: dict[Any, Any]) -> bool:
    """Whether `prove` has anything to look at: asked of each result that is an exact dict."""
    try:
        for key in islice(result, _ENTRIES):
            if type(key) is str and key in _PROVING:
                return True
    except RuntimeError:  # another thread changes it
        pass
    return False


def prove(call: ToolCall, result: object) -> Numbers:
    """The same for a tool of any name, whose result proves it."""
    answer = _entries(result)
    return recognise(call, [name for name, row in FAMILIES.items() if _proves(answer, row)])


def shown(call: ToolCall, redactor: Redactor, limit: int | None) -> dict[str, str]:
    """The command, the path or the URL, redacted: this is content."""
    row = FAMILIES[call.family or ""]
    given = _entries(call.arguments)
    room = _SHOWN if limit is None else min(limit, _SHOWN)
    key = next((key for key in row.takes[0] if _fits(key, given.get(key))), "")
    text = render_entry(given, key, room, redactor, call.name) if row.shows else None
    if text is None or row.shows != semconv.URL:
        return {} if text is None else {row.shows: text}
    # A long one is left out: where it is cut, a secret may lose the mark by which it is known.
    return {} if len(text) >= room else {row.shows: _without_secrets(text, redactor)}


def answered(call: ToolCall, outcome: Outcome, seen: object) -> Numbers:
    """The numbers that the result, `seen` as the tool has it, tells, or the exception."""
    row = FAMILIES[call.family or ""]
    result = _parsed(seen, row)
    values = _values(result, row)
    numbers: Numbers = {}
    if outcome.error is None and row.texts:
        if row is _SEARCH:
            numbers = _matches(
                result, values, by_lines=bool(_entries(call.arguments).keys() & _LIKE)
            )
        else:
            numbers = _counts(_texts(result) if not values else _parts(values, row))
    for number in row.says:
        for found in _found(number, values, outcome):
            if type(found) is int and found in number.among:
                numbers[number.attribute] = found
                break
    return numbers


# -- arguments


def _entries(value: Any) -> dict[str, Any]:
    """The first entries of an exact dict; only keys that are text, or `==` would be the host's."""
    if type(value) is not dict:
        return {}
    with suppress(RuntimeError):  # another thread changes it
        return {key: item for key, item in islice(value.items(), _ENTRIES) if type(key) is str}
    return {}


def _fits(key: str, value: Any) -> bool:
    if key in FAMILIES["web_fetch"].takes[0]:
        return type(value) is str and value[:8].lower().startswith(("http://", "https://"))
    return (type(value) is str or type(value) is list) and bool(value)


def _written(given: dict[str, Any], row: Family) -> Numbers:
    key = next((key for key in row.writes if key in given), None)
    return {} if key is None else _counts(_texts(given[key], row.writes))


_USER: Final = re.compile(r"(?<=://)[^/?#]*@")
_PARAMETER: Final = re.compile(r"(?<=[?&;#])([^=&;#]+)=[^&;#]*")


def _without_secrets(url: str, redactor: Redactor) -> str:
    """As the convention of `url.full` asks: no user, and no value of a parameter that is secret."""

    def redacted(parameter: re.Match[str]) -> str:
        name = unquote_plus(parameter[1])
        secret = redactor.secret(name) or name.lower().endswith(("signature", "sig"))
        return f"{parameter[1]}=REDACTED" if secret else parameter[0]

    return _PARAMETER.sub(redacted, _USER.sub("REDACTED:REDACTED@", url))


# -- results


def _proves(answer: dict[str, Any], row: Family) -> bool:
    return bool(row.proof) and all(any(key in answer for key in group) for group in row.proof)


def _parsed(result: Any, row: Family) -> Any:
    """What a framework made text of, as JSON, where it has the shape of such a result.

    The text of a file is what it is.
    """
    if type(result) is str and result[:1] in {"{", "["} and len(result) <= _PARSED:
        with suppress(ValueError, RecursionError):
            value = json.loads(result) if row.proof or row is _SEARCH else result
            return value if row is _SEARCH or _proves(_entries(value), row) else result
    return result


def _values(result: Any, row: Family) -> dict[str, Any]:
    """What a result holds by name: a dict its entries, an object what is stored in it."""
    if type(result) is dict:
        values = _entries(result)
        return {**values, **_entries(values.get("file"))}  # Claude's Read
    if result is None or type(result) is str or type(result) is list:
        return {}
    keys = (*row.texts, *(key for number in row.says for key in number.keys))
    return {key: value for key in keys if (value := stored(result, key)) is not None}


def _texts(value: Any, keys: Keys = ("text",)) -> list[str] | None:
    """A text; or those of a list, and of its blocks (`[{"type": "text", "text": "..."}]`)."""
    if type(value) is str:
        return [value]
    if type(value) is not list or len(value) > _ITEMS:
        return None
    blocks = [(item, _entries(item)) for item in value]
    parts = [next((block[key] for key in keys if key in block), item) for item, block in blocks]
    return [part for part in parts if type(part) is str] or None


def _parts(values: dict[str, Any], row: Family) -> list[str] | None:
    """The texts under the first of the family's names; what a shell printed stands under two."""
    found = [texts for key in row.texts if (texts := _texts(values.get(key))) is not None]
    return [*chain(*found[: 2 if "stdout" in values else 1])] if found else None


def _counts(texts: list[str] | None) -> Numbers:
    """Lines, and bytes of UTF-8; of too long texts neither."""
    if texts is None or sum(map(len, texts)) > _COUNTED:
        return {}
    lines = sum(text.count("\n") + (text[-1:] not in {"", "\n"}) for text in texts)
    return {semconv.LINES: lines, semconv.BYTES: sum(map(_size, texts))}


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _matches(result: Any, values: dict[str, Any], *, by_lines: bool) -> Numbers:
    """How much was found: the items of a list, or of a text (`by_lines`) the lines."""
    texts = _texts(result)
    if texts and by_lines:
        return _lines_found("\n".join(texts))
    lists = (one for one in (result, *map(values.get, _SEARCH.texts)) if type(one) is list)
    found = next(lists, None)
    if found is None or "type" in _entries(next(iter(found), None)):  # a block of text
        return {}
    # Claude's web search has lists in its list, and remarks between them.
    inner = [_entries(item).get("content") for item in found[:_ITEMS]]
    pages = [len(one) for one in inner if type(one) is list]
    return {semconv.MATCHES: sum(pages) if pages or "searchCount" in values else len(found)}


_FOUND: Final = re.compile(
    r"Found (\d{1,9}) (?:files?|matches|total)\b|(No (?:files|matches)\b)|(Error|Invalid)\b"
)


def _lines_found(text: str) -> Numbers:
    """A search in files tells a match a line, or begins with how many there are."""
    said = _FOUND.match(text)
    if said is None and len(text) <= _COUNTED:
        return {semconv.MATCHES: sum(bool(line.strip("-")) for line in text.split("\n"))}
    return {} if said is None or said[3] else {semconv.MATCHES: int(said[1] or 0)}


def _found(number: Number, values: dict[str, Any], outcome: Outcome) -> Iterator[Any]:
    """Where a number may stand, the surest first."""
    yield from map(values.get, number.keys)
    if outcome.exception is not None:
        for holder in (outcome.exception, stored(outcome.exception, "response")):
            yield from (stored(holder, key) for key in number.raised)
    text = outcome.message if type(outcome.message) is str else outcome.result
    if number.told is not None and type(text) is str:
        failed = outcome.error is not None or text.startswith(("Error", "Failed"))
        said = number.told.search(_ends(text)) if failed else None
        yield int(next(filter(None, said.groups()))) if said else None


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]}\n{text[-_ENDS:]}"
