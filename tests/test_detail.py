"""What tools of well-known families say more of, recognised by name and shape alike.

`SHAPES` holds arguments and results as the tools of many frameworks have them; where a package is
in one of our environments, the tool itself runs below, and what it did is counted beside it.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest

import toolspan
from receiver import Receiver
from toolspan.detail import FAMILIES
from toolspan.settings import Settings

DETAIL = ("toolspan.detail.", "process.", "file.", "url.", "http.", "toolspan.tool.family")
EXIT, COMMAND = "process.exit.code", "process.command_line"
LINES, BYTES, MATCHES = (f"toolspan.detail.{name}" for name in ("lines", "bytes", "matches"))
PATH, URL, STATUS = "file.path", "url.full", "http.response.status_code"
FAMILY = "toolspan.tool.family"

TWO = "first\nsecond\n"
PAGE = "https://example.com/a"


def text(*texts):
    """The content blocks of a result of MCP."""
    return [{"type": "text", "text": each} for each in texts]


def lines(value, number):
    return {LINES: number, BYTES: len(value.encode())}


class Case(SimpleNamespace):
    """A call as its tool has it, and what its span says more."""

    def __init__(self, name, arguments, result, family, numbers, shown=(), **how):
        super().__init__(name=name, arguments=arguments, result=result, family=family, how=how)
        self.numbers = numbers | ({FAMILY: family} if family else {})
        self.shown = dict(shown)


def shell(name, arguments, result, numbers, command="ls", **how):
    return Case(name, arguments, result, "shell", numbers, {COMMAND: command}, **how)


def a_file(family, name, arguments, result, numbers, **how):
    return Case(name, arguments, result, family, numbers, {PATH: "a.txt"}, **how)


def reads(*of, **how):
    return a_file("file_read", *of, **how)


def writes(*of):
    return a_file("file_write", *of, lines(TWO, 2))


def edits(*of):
    return a_file("file_edit", *of, lines("new", 1))


def search(name, arguments, result, matches):
    return Case(name, arguments, result, "search", {} if matches is None else {MATCHES: matches})


def fetch(name, arguments, result, numbers, **how):
    return Case(name, arguments, result, "web_fetch", numbers, {URL: PAGE}, **how)


PATCH = {"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-old", "+new"]}
BASH = {"stdout": TWO, "stderr": "", "interrupted": False, "isImage": False}
FILE = {"filePath": "a.txt", "content": TWO, "numLines": 3, "startLine": 1, "totalLines": 9}
HITS = {"tool_use_id": "1", "content": [{"title": "A", "url": PAGE}, {"title": "B", "url": PAGE}]}
SHAPES = {
    # Claude Code: what its hooks are told, and what its model is
    "Claude's Bash": shell(
        "Bash", {"command": "ls", "timeout": 5, "description": "List"}, BASH, lines(TWO, 2)
    ),
    "Claude's Bash, failing": shell(
        "Bash", {"command": "ls"}, "Exit code 2\nno such file", {EXIT: 2}, outcome="tool_error"
    ),
    "Claude's Read": reads(
        "Read", {"file_path": "a.txt"}, {"type": "text", "file": FILE}, lines(TWO, 2)
    ),
    "Claude's Read, told to the model": reads(
        "Read", {"file_path": "a.txt", "offset": 1}, text("     1→first"), lines("     1→first", 1)
    ),
    "Claude's Read, of an image": reads(
        "Read", {"file_path": "a.txt"}, [{"type": "image", "source": {"data": "x"}}], {}
    ),
    "Claude's Write": writes(
        "Write", {"file_path": "a.txt", "content": TWO}, {"type": "create", "filePath": "a.txt"}
    ),
    "Claude's Edit": edits(
        "Edit",
        {"file_path": "a.txt", "old_string": "old", "new_string": "new"},
        {"filePath": "a.txt", "structuredPatch": [PATCH]},
    ),
    "Claude's MultiEdit": edits(
        "MultiEdit",
        {"file_path": "a.txt", "edits": [{"old_string": "old", "new_string": "new"}]},
        "Applied 1 edit",
    ),
    "Claude's Glob": search(
        "Glob", {"pattern": "*"}, {"numFiles": 2, "filenames": ["a", "b"], "truncated": False}, 2
    ),
    "Claude's Grep": search(
        "Grep",
        {"pattern": "x", "path": ".", "output_mode": "files_with_matches"},
        {"mode": "files_with_matches", "numFiles": 1, "filenames": ["a"]},
        1,
    ),
    "Claude's Grep, lines": search(
        "Grep",
        {"pattern": "x", "output_mode": "content"},
        {"mode": "content", "numFiles": 0, "filenames": [], "content": "x\nx", "numLines": 2},
        2,
    ),
    "Claude's Grep, told to the model": search(
        "Grep", {"pattern": "x"}, "Found 2 files\na.txt\nb.txt", 2
    ),
    "Claude's Grep, nothing": search("Grep", {"pattern": "x"}, "No matches found", 0),
    "Claude's WebSearch": search(
        "WebSearch",
        {"query": "x"},
        {"query": "x", "results": [HITS, "So."], "durationSeconds": 1},
        2,
    ),
    "Claude's WebSearch, with remarks alone": search(
        "WebSearch", {"query": "x"}, {"query": "x", "results": ["So."], "searchCount": 0}, 0
    ),
    "Claude's WebFetch": fetch(
        "WebFetch",
        {"url": PAGE, "prompt": "Sum up"},
        {"bytes": 9999, "code": 200, "codeText": "OK", "result": TWO, "url": PAGE},
        {STATUS: 200, BYTES: 9999},  # its result is what a model says of the page
    ),
    "Claude's Task": Case(
        "Task",
        {"description": "Look", "prompt": "Look for x", "subagent_type": "explorer"},
        {"status": "completed", "content": text("Done")},
        "sub_agent",
        {},
    ),
    # MCP: the reference servers, and names as clients prefix them
    "MCP filesystem read_file": reads("read_file", {"path": "a.txt"}, TWO, lines(TWO, 2)),
    "MCP filesystem read_text_file": reads(
        "mcp__filesystem__read_text_file", {"path": "a.txt", "head": 2}, text(TWO), lines(TWO, 2)
    ),
    "MCP filesystem, structured": reads(
        "filesystem_read_file", {"path": "a.txt"}, {"content": TWO}, lines(TWO, 2)
    ),
    "MCP filesystem write_file": writes(
        "write_file", {"path": "a.txt", "content": TWO}, "Successfully wrote to a.txt"
    ),
    "MCP filesystem edit_file": edits(
        "edit_file", {"path": "a.txt", "edits": [{"oldText": "old", "newText": "new"}]}, "diff"
    ),
    "MCP filesystem search_files": search(
        "fs.search_files", {"path": ".", "pattern": "*.txt"}, "a.txt\nb.txt", 2
    ),
    "MCP filesystem search_files, nothing": search(
        "search_files", {"path": ".", "pattern": "*.txt"}, "No matches found", 0
    ),
    "MCP fetch": fetch(
        "fetch",
        {"url": PAGE, "max_length": 9},
        f"Contents of {PAGE}:\nHi",
        lines(f"Contents of {PAGE}:\nHi", 2),
    ),
    "MCP fetch, refused": fetch(
        "fetch",
        {"url": PAGE},
        f"Failed to fetch {PAGE} - status code 404",
        {STATUS: 404},
        outcome="tool_error",
    ),
    # LangChain, and its community's
    "LangChain ShellTool": shell(
        "terminal", {"commands": ["cd /", "ls"]}, TWO, lines(TWO, 2), "cd /\nls"
    ),
    "LangChain shell middleware": shell("shell", {"command": "ls"}, TWO, lines(TWO, 2)),
    "LangChain shell middleware, failing": shell(
        "shell", {"command": "ls"}, "none\n\nExit code: 2", {EXIT: 2}, outcome="tool_error"
    ),
    "a shell that prints such words": shell(
        "bash", {"command": "ls"}, "Exit code: 3\n", lines("Exit code: 3\n", 1)
    ),
    "LangChain tool of one's own": shell(
        "run_shell_command",
        {"command": "ls"},
        '{"stdout": "first\\nsecond\\n", "stderr": "", "exit_code": 0}',
        {EXIT: 0, **lines(TWO, 2)},
    ),
    "LangChain ReadFileTool": reads("read_file", {"file_path": "a.txt"}, TWO, lines(TWO, 2)),
    "LangChain WriteFileTool": writes(
        "write_file", {"file_path": "a.txt", "text": TWO, "append": False}, "File written"
    ),
    "LangChain FileSearchTool": search(
        "file_search", {"dir_path": ".", "pattern": "*"}, "No files found for pattern * in .", 0
    ),
    "LangChain glob_search": search("glob_search", {"pattern": "*"}, "/a.txt\n/b.txt", 2),
    "LangChain grep_search, refused": search(
        "grep_search", {"pattern": "("}, "Invalid regex pattern: missing )", None
    ),
    "LangChain Tavily": search(
        "tavily_search_results_json", {"query": "x"}, '[{"url": "a"}, {"url": "b"}]', 2
    ),
    "LangChain RequestsGetTool": fetch("requests_get", {"url": PAGE}, TWO, lines(TWO, 2)),
    # the others
    "OpenAI Agents, Codex's shell": shell(
        "exec_command", {"cmd": "ls"}, {"output": TWO, "exit_code": 0}, {EXIT: 0, **lines(TWO, 2)}
    ),
    "Anthropic's editor, view": reads(
        "str_replace_based_edit_tool", {"command": "view", "path": "a.txt"}, TWO, lines(TWO, 2)
    ),
    "Anthropic's editor, create": writes(
        "str_replace_based_edit_tool",
        {"command": "create", "path": "a.txt", "file_text": TWO},
        "File created",
    ),
    "Anthropic's editor, str_replace": edits(
        "str_replace_editor",
        {"command": "str_replace", "path": "a.txt", "old_str": "old", "new_str": "new"},
        "ok",
    ),
    "smolagents visit_webpage": fetch("visit_webpage", {"url": PAGE}, TWO, lines(TWO, 2)),
    "smolagents visit_webpage, refused": fetch(
        "visit_webpage",
        {"url": PAGE},
        f"Error fetching the webpage: 404 Client Error: Not Found for url: {PAGE}",
        {STATUS: 404, LINES: 1, BYTES: 65 + len(PAGE)},
    ),
    "smolagents web_search": search("web_search", {"query": "x"}, "## Search Results\n\nA", None),
    "CrewAI FileReadTool": reads(
        "read_a_file_s_content", {"file_path": "a.txt", "start_line": 1}, TWO, lines(TWO, 2)
    ),
    "CrewAI FileReadTool, older": reads(
        "Read a file's content", {"file_path": "a.txt"}, TWO, lines(TWO, 2)
    ),
    "CrewAI FileWriterTool": writes(
        "file_writer_tool", {"filename": "a.txt", "content": TWO, "overwrite": True}, "ok"
    ),
    "CrewAI ScrapeWebsiteTool": fetch(
        "Read website content", {"website_url": PAGE}, TWO, lines(TWO, 2)
    ),
    "CrewAI delegation": Case(
        "Delegate work to coworker",
        {"task": "Look", "context": "x", "coworker": "Explorer"},
        "Done",
        "sub_agent",
        {},
    ),
    "Pydantic AI web_fetch": fetch(
        "web_fetch", {"url": PAGE}, {"url": PAGE, "title": "", "content": TWO}, lines(TWO, 2)
    ),
    "Pydantic AI duckduckgo_search": search(
        "duckduckgo_search", {"query": "x"}, [{"title": "A", "href": PAGE, "body": "b"}], 1
    ),
    "a search whose answer is in blocks": search(
        "web_search", {"query": "x"}, text("A", "B"), None
    ),
    # any name, where arguments and result say it together
    "a shell by its shape": shell(
        "ausführen",
        {"command": "ls"},
        {"stdout": TWO, "stderr": "", "exit_code": 3},
        {EXIT: 3, **lines(TWO, 2)},
    ),
    "a fetch by its shape": fetch(
        "lookup", {"url": PAGE}, {"status_code": 503, "body": TWO}, {STATUS: 503, **lines(TWO, 2)}
    ),
    # what was raised
    "a command that failed": shell(
        "bash",
        {"command": "ls"},
        None,
        {EXIT: -9},
        outcome="error",
        error=subprocess.CalledProcessError(-9, "ls"),
    ),
    "a page that is not there": fetch(
        "fetch_url",
        {"url": PAGE},
        None,
        {STATUS: 404},
        outcome="error",
        error=urllib.error.HTTPError(PAGE, 404, "Not Found", {}, None),
    ),
}

OTHERS = {
    "a book": ("read", {"title": "Moby Dick"}, "Call me Ishmael."),
    "a connector": ("fetch", {"id": "doc-1"}, "text"),
    "a chat bot": ("run_command", {"command": "/ban"}, "banned"),
    "a database": ("redis_execute_command", {"command": "GET x"}, "1"),
    "a to-do": ("task", {"description": "Buy milk"}, "noted"),
    "a piece of music": ("edit", {"path": "a.wav", "gain": 3}, "ok"),
    "a shop": ("search", {"query": "shoes"}, [{"price": 1}]),
    "a page that is no URL": ("fetch", {"url": "a.txt"}, "text"),
    "a robot": ("move", {"command": "left"}, {"output": "moved", "battery": 3}),
    "arguments that are none": ("bash", None, "x"),
    "arguments that are text": ("bash", "ls", "x"),
}


def told(case):
    now = time.time()
    how = {"outcome": "ok", **getattr(case, "how", {})}
    toolspan.record(
        case.name, started=now, duration=0.1, arguments=case.arguments, result=case.result, **how
    )


def detail_of(traced):
    (span,) = traced.tools
    return detail_of_span(span)


def detail_of_span(span):
    given = span.attributes
    return {
        key: value for key, value in given.items() if key.startswith(DETAIL[:-1]) or key == FAMILY
    }


@pytest.mark.parametrize("which", SHAPES)
def test_numbers_always_and_content_where_it_may_leave(which, trace_with):
    case = SHAPES[which]
    quiet = trace_with()
    told(case)
    assert detail_of(quiet) == case.numbers
    toolspan.uninstrument()
    loud = trace_with(settings=Settings(capture=True))
    told(case)
    assert detail_of(loud) == case.numbers | case.shown


@pytest.mark.parametrize("which", OTHERS)
def test_no_family_is_said_of(which, trace_with):
    name, arguments, result = OTHERS[which]
    traced = trace_with(settings=Settings(capture=True))
    told(SimpleNamespace(name=name, arguments=arguments, result=result))
    assert detail_of(traced) == {}


def test_one_file_read_through_three_frameworks_says_the_same(trace_with, tmp_path):
    """LangChain's tool, one behind an MCP session and one of our own read a real file."""
    langchain = pytest.importorskip("langchain_core.tools")
    client = pytest.importorskip("mcp.client.client")
    server = pytest.importorskip("mcp.server.mcpserver").MCPServer("files")
    file = tmp_path / "a.txt"
    file.write_text("one\ntwö\nthree", encoding="utf-8")

    def read(path: str) -> str:
        """Read a file."""
        return file.parent.joinpath(path).read_text(encoding="utf-8")

    @langchain.tool("read_file")
    def read_by_langchain(file_path: str) -> str:
        """Read a file."""
        return read(file_path)

    async def over_mcp():
        server.tool("read_text_file")(read)
        async with client.Client(server) as session:
            await session.call_tool("read_text_file", {"path": "a.txt"})

    traced = trace_with(settings=Settings(capture=True))
    asked = {"name": "read_file", "args": {"file_path": "a.txt"}, "id": "1", "type": "tool_call"}
    read_by_langchain.invoke(asked)
    asyncio.run(over_mcp())
    toolspan.tool(name="Read")(read)(path="a.txt")

    counted = {LINES: 3, BYTES: file.stat().st_size, PATH: "a.txt", FAMILY: "file_read"}
    assert [detail_of_span(span) for span in traced.tools] == [counted] * 4


def test_a_shell_says_what_its_process_came_to(trace_with):
    """Whatever framework made text of the result, as LangChain does."""
    langchain = pytest.importorskip("langchain_core.tools")
    done = {}

    def bash(command: str) -> dict:
        """Run a command."""
        ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        done.update(stdout=ran.stdout, stderr=ran.stderr, exit_code=ran.returncode)
        return done

    traced = trace_with()
    asked = {"command": "echo one; echo two >&2; exit 7"}
    toolspan.tool(bash)(**asked)
    call = {"name": "bash", "args": asked, "id": "1", "type": "tool_call"}
    langchain.tool(bash).invoke(call)
    printed = {LINES: 2, BYTES: len(done["stdout"] + done["stderr"])}
    expected = printed | {EXIT: 7, FAMILY: "shell"}
    assert [detail_of_span(span) for span in traced.tools] == [expected] * 2


def test_langchains_own_search_counts_what_is_in_the_folder(traced, tmp_path):
    middleware = pytest.importorskip("langchain.agents.middleware")
    for name in ("a.txt", "b.txt", "c.md"):
        (tmp_path / name).write_text("needle\nhay\nneedle\n")
    found = middleware.FilesystemFileSearchMiddleware(root_path=str(tmp_path))
    found.glob_search.run({"pattern": "*.txt"})
    found.grep_search.run({"pattern": "needle", "output_mode": "content"})
    found.grep_search.run({"pattern": "missing"})
    files = len([*tmp_path.glob("*.txt")])
    lines_found = sum(file.read_text().count("needle") for file in tmp_path.iterdir())
    assert [span.attributes[MATCHES] for span in traced.tools] == [files, lines_found, 0]


def test_a_response_that_refuses_says_its_status(traced):
    """The exception of a real request, of which only what it holds is read."""
    requests = pytest.importorskip("requests")

    @toolspan.tool
    def fetch_url(url):
        requests.get(url, timeout=5).raise_for_status()

    with Receiver() as receiver, pytest.raises(requests.HTTPError) as error:
        fetch_url(f"{receiver.url}/nothing")
    (span,) = traced.tools
    assert span.attributes[STATUS] == error.value.response.status_code


SECRETS = {
    "https://ann:hunter2@example.com/a?token=hunter2&page=2#access_token=hunter2": (
        "https://REDACTED:REDACTED@example.com/a?token=REDACTED&page=2#access_token=REDACTED"
    ),
    "https://b.example/?X-Amz-Signature=hunter2&sig=hunter2&%74oken=hunter2&a=1": (
        "https://b.example/?X-Amz-Signature=REDACTED&sig=REDACTED&%74oken=REDACTED&a=1"
    ),
    f"https://example.com/{'x' * 5_000}?token=hunter2": None,
}


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_is_shown_without_what_is_secret(url, trace_with):
    traced = trace_with(settings=Settings(capture=True))
    told(SimpleNamespace(name="fetch", arguments={"url": url}, result="x"))
    (span,) = traced.tools
    assert span.attributes.get(URL) == SECRETS[url]


def hide(path, value, tool):
    """A redactor of the user's: the paths of the tools."""
    return "hidden" if path == ("path",) and tool == "read_file" else value


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(capture=True), "secret.txt"),
        (Settings(capture=True, redact=("path",)), None),
        (Settings(capture=True, redactor=hide), "hidden"),
        (Settings(capture=True, redactor=lambda *_: None), None),
        (
            Settings(capture=True, redact=("path",), redactor=lambda _, value, __: value or 1 / 0),
            None,
        ),
        (Settings(), None),
    ],
)
def test_what_is_hidden_among_the_arguments_is_not_shown_beside_them(
    settings, expected, trace_with
):
    traced = trace_with(settings=settings)
    told(SimpleNamespace(name="read_file", arguments={"path": "secret.txt"}, result="x"))
    (span,) = traced.tools
    assert span.attributes.get(PATH) == expected


def test_one_tool_may_show_what_the_others_do_not(traced):
    with toolspan.call("bash", {"command": "ls"}, capture=True) as call:
        call.result = {"stdout": "a\n", "stderr": "", "exit_code": 0}
    with toolspan.call("my_runner", {"command": "ls"}, capture=True) as call:
        call.result = {"stdout": "a\n", "stderr": "", "exit_code": 0}
    expected = {FAMILY: "shell", EXIT: 0, COMMAND: "ls", LINES: 1, BYTES: 2}
    assert [detail_of_span(span) for span in traced.tools] == [expected] * 2


def test_the_listener_is_told_the_family(traced):
    families = []
    with toolspan.on_call(finished=lambda call, *_: families.append(call.family)) as listening:
        told(SHAPES["Claude's Bash"])
        told(SimpleNamespace(name="add", arguments={"a": 1}, result=2))
        assert listening.wait()
    assert families == ["shell", None]


HUGE = {
    "text": lambda: "x\n" * 6_000_000,
    "a list": lambda: ["x"] * 2_000_000,
    "a dict": lambda: {str(n): n for n in range(1_000_000)},
    "a number": lambda: {"stdout": "", "exit_code": 1 << 70},
    "not JSON": lambda: "[" * 90_000,
    "surrogates": lambda: "\ud800\n",
    "no end": lambda: "Exit code " * 1_000_000,
}


@pytest.mark.parametrize("which", HUGE)
@pytest.mark.parametrize("tool", ["bash", "grep", "fetch", "read_file"])
def test_what_is_huge_or_broken_takes_no_time(which, tool, traced):
    arguments = {"command": "x", "pattern": "x", "url": PAGE, "path": "x"}
    given = HUGE[which]()
    began = time.process_time()
    for outcome in ("ok", "tool_error"):
        told(
            SimpleNamespace(name=tool, arguments=arguments, result=given, how={"outcome": outcome})
        )
    assert time.process_time() - began < 0.5
    assert [span.attributes[FAMILY] for span in traced.tools]


def test_the_page_has_a_row_for_each_family_with_all_that_it_says():
    page = Path(__file__).parent.parent.joinpath("docs", "attributes.md").read_text()
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in page.splitlines()]
    told_there = {
        row[0].strip("`"): row[2:] for row in rows if row and row[0].strip("`") in FAMILIES
    }
    assert told_there.keys() == FAMILIES.keys()
    for family, (always, shown) in told_there.items():
        numbers = {key for case in SHAPES.values() for key in case.numbers if case.family == family}
        content = {key for case in SHAPES.values() for key in case.shown if case.family == family}
        for key in numbers - {FAMILY}:
            assert key in always or f"`.{key.rpartition('.')[2]}`" in always, (family, key)
        assert {shown.strip("`")} - {""} == content, family
