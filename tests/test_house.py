"""The house itself: who may import whom, how long things are, and what may not stand anywhere.

Read from the sources as text and syntax trees. Each reader is first shown something wrong, so
that one which sees nothing is not taken for a clean house.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "toolspan"
FOLDERS = ("src", "tests", "docs", "examples", "benchmarks", "collector-config", ".ci")

# room -> the rooms of ours that it may import, besides itself
MAY_IMPORT = {
    "toolcall": set(),
    "containment": set(),
    "semconv": set(),
    "versions": set(),
    "settings": {"containment", "semconv"},
    "content": {"toolcall", "containment", "settings"},
    "hooks": {"toolcall", "containment"},
    "detail": {"toolcall", "content", "semconv"},
    "spans": {"toolcall", "content", "detail", "semconv", "containment", "settings"},
    "vendors": {"toolcall", "semconv"},
    "foreign": {"toolcall", "content", "semconv", "containment", "settings", "vendors"},
    "neighbours": {"toolcall", "semconv", "containment", "vendors"},
    "lifecycle": {"toolcall", "content", "hooks", "spans", "neighbours", "semconv", "containment"}
    | {"settings", "versions"},
    "adapters": {"toolcall", "hooks"},
    "registry": {"adapters", "hooks", "toolcall", "containment", "versions"},
    "statistics": {"toolcall", "foreign", "semconv", "containment", "settings"},
    "export": {"semconv", "containment", "settings"},
    "store": {"semconv", "settings"},
    "insights": {"store"},
    "serve": {"store", "insights"},
    "resilience": {"__init__"},  # the public API, like any user; nothing imports it
}
CORE = {"toolcall", "containment", "semconv", "settings", "content", "hooks", "spans"}
CORE |= {"detail", "foreign", "vendors", "neighbours", "lifecycle", "versions"}
DOORS = {"api", "dispatching", "listening"}
ABOVE = (
    CORE | DOORS | {"adapters", "registry", "statistics", "export", "store", "insights", "serve"}
)
MAY_IMPORT |= dict.fromkeys(DOORS, CORE | {"statistics"})
MAY_IMPORT |= {
    "instrumentor": ABOVE,
    "entry_point": {"instrumentor"},
    "quickstart": ABOVE | {"instrumentor"},
    "testing": ABOVE | {"instrumentor", "__init__"},
    "findings": {"settings", "status"},
    "status": ABOVE | {"instrumentor", "quickstart", "findings"},
    "cli": ABOVE | {"instrumentor", "quickstart", "testing", "status", "findings", "__init__"},
    "__main__": {"cli"},
    "__init__": ABOVE | {"instrumentor", "quickstart", "testing", "status"},
}

CATCH_ALL = {"Exception", "BaseException"}
DRAWERS = {"utils", "util", "helpers", "base", "common", "misc", "manager", "managers"}
ONE_PLATFORM = {"crypt", "curses", "fcntl", "grp", "msvcrt", "nis", "nt", "ossaudiodev", "posix"}
ONE_PLATFORM |= {"pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty"}
ONE_PLATFORM |= {"winreg", "winsound"}
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
SIGNALS |= {"Handlers", "Signals", "default_int_handler", "getsignal", "raise_signal", "signal"}
#: Ways to change something in its place.
CHANGING = {
    "add",
    "append",
    "clear",
    "discard",
    "extend",
    "insert",
    "move_to_end",
    "pop",
    "popitem",
}
CHANGING |= {
    "popleft",
    "appendleft",
    "remove",
    "setdefault",
    "update",
    "__setitem__",
    "__delitem__",
}
#: Who puts layers over functions, whatever their name; and a test of others' patches.
WHO_PATCHES = {"hooks", "testing"}
SILENCED = re.compile(
    r"type:\s*ignore(?!\[[a-z-]+)|noqa(?!:\s?[A-Z]+[0-9]+)|(mypy|pyright):\s*(ignore|disable)"
)
WORKPLACE = re.compile(r"(?<![\w.~})])/(work|tmp|root|home|Users)/")


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; `from toolspan import x` as toolspan.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [f"toolspan.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names if module == "toolspan")
            if module != "toolspan":
                yield node.lineno, module


def wrong_imports(tree: ast.AST, room: str) -> Iterator[str]:
    for line, module in imports(tree):
        first, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if first == "":
            yield f"{line}: {room} imports relatively"
        elif first == "toolspan":
            target = target if target in MAY_IMPORT else "__init__"
            if target != room and target not in MAY_IMPORT.get(room, ()):
                yield f"{line}: {room} imports {target}"
        elif first == "wrapt" and room not in {"hooks", "testing"}:  # which patches as others do
            yield f"{line}: {room} imports wrapt"
        elif room == "adapters" and first not in sys.stdlib_module_names:
            yield f"{line}: an adapter imports {first}, which it may only name in a string"


def catch_alls(tree: ast.AST, room: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            all_of_them = node.type is None or _names(node.type) & CATCH_ALL
            found = all_of_them and not _hands_on(node)
        else:
            is_suppress = isinstance(node, ast.Call) and "suppress" in _names(node.func)
            found = is_suppress and _names(node) & CATCH_ALL
        if found and room not in {"containment", "testing"}:  # a test compares whatever is raised
            yield f"{node.lineno}: catches everything; only containment.py may"


def _hands_on(handler: ast.ExceptHandler) -> bool:
    """Whether it ends with a bare `raise`, or is all about throwing into a generator's body."""
    *before, last = handler.body
    throws = bool({"throw", "athrow"} & _names(last)) and handler.name in _names(last)
    return (isinstance(last, ast.Raise) and last.exc is None) or (throws and not before)


def _names(tree: ast.AST) -> set[str]:
    """Every name and attribute that is mentioned in a piece of code."""
    nodes = list(ast.walk(tree))
    return (
        {node.id for node in nodes if isinstance(node, ast.Name)}
        | {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        | {node.arg for node in nodes if isinstance(node, ast.arg)}
    )


def wrappers(tree: ast.AST, room: str) -> Iterator[str]:
    if room == "adapters" and "wrapped" in _names(tree):
        yield "1: an adapter says `wrapped`: it describes, the core acts"


def one_platform(tree: ast.AST, room: str) -> Iterator[str]:
    for node in _run_at_import(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {module.partition(".")[0] for _, module in imports(node)} & ONE_PLATFORM
            if isinstance(node, ast.ImportFrom) and node.module == "signal":
                names |= {alias.name for alias in node.names} - SIGNALS
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "signal":
            names = {node.attr} - SIGNALS
        else:
            continue
        yield from (f"{node.lineno}: {room} needs {name} to be imported" for name in names)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in _names(node.test)
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if not (types_only or later):
            yield node
            yield from _run_at_import(node)


def long_functions(tree: ast.AST, _room: str) -> Iterator[str]:
    for node, size in functions(tree):
        if size > 60:
            yield f"{node.lineno}: {node.name} has {size} lines"


def functions(tree: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node, node.end_lineno - node.lineno + 1


def private_writes(tree: ast.AST, room: str) -> Iterator[str]:
    """Where what another keeps for itself is written, deleted, or changed in its place."""
    ours = _made_here(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found = _writes_by_name(node, ours, room)
            changes = isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING
            found = found or (changes and _is_anothers(node.func.value, ours))
        else:
            written = isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))
            found = written and _is_anothers(node, ours)
        if found:
            yield f"{node.lineno}: writes to what is private to another: {ast.unparse(node)}"


def _made_here(tree: ast.AST) -> set[str]:
    """The names of what a file makes itself, of classes of its own."""
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} | {"cls"}
    made = [
        n for n in ast.walk(tree) if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)
    ]
    own = [node for node in made if ast.unparse(node.value.func) in classes]
    return {"self", "cls"} | {ast.unparse(target) for node in own for target in node.targets}


def _is_anothers(node: ast.AST, ours: set[str]) -> bool:
    """Whether a piece such as `span._attributes["x"]` is, or is in, a private attribute."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        holder = ast.unparse(node.value)
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and holder not in ours:
            return True
        if isinstance(node, ast.Subscript) and re.search(r"^vars\(|\.__dict__$", holder):
            return not isinstance(node.slice, ast.Constant) or _is_private(node.slice.value)
        node = node.value
    return False


def _writes_by_name(call: ast.Call, ours: set[str], room: str) -> bool:
    """Whether it is `setattr` or the like: of a private name, or, but for a hook, of any."""
    name = ast.unparse(call.func).rpartition(".")[2].strip("_")
    if (
        name not in {"setattr", "delattr"}
        or len(call.args) < 2
        or ast.unparse(call.args[0]) in ours
    ):
        return False
    given = call.args[1]
    return _is_private(given.value) if isinstance(given, ast.Constant) else room not in WHO_PATCHES


def _is_private(name: str) -> bool:
    """A protocol's `__name__` is not; `_self_name` is where wrapt lets its wrappers keep theirs."""
    return name.startswith("_") and not name.startswith("_self_") and not name.endswith("__")


READERS = [wrong_imports, catch_alls, wrappers, one_platform, private_writes, long_functions]

WRONG = [
    (wrong_imports, "toolcall", "from toolspan import semconv"),
    (wrong_imports, "toolcall", "from toolspan.settings import Settings"),
    (wrong_imports, "spans", "import toolspan.hooks.words"),
    (wrong_imports, "statistics", "def late():\n    from toolspan.lifecycle import life"),
    (wrong_imports, "api", "from toolspan import instrument"),
    (wrong_imports, "cli", "import toolspan.resilience"),
    (wrong_imports, "resilience", "from toolspan.spans import open_span"),
    (wrong_imports, "content", "from . import settings"),
    (wrong_imports, "spans", "import wrapt"),
    (wrong_imports, "adapters", "from opentelemetry import trace"),
    (wrong_imports, "adapters", "if TYPE_CHECKING:\n    import langchain_core.tools"),
    (catch_alls, "spans", "try: go()\nexcept: pass"),
    (catch_alls, "spans", "try: go()\nexcept (OSError, Exception) as error: note(error)"),
    (catch_alls, "spans", "try: go()\nexcept BaseException as error: raise Mine from error"),
    (catch_alls, "spans", "with contextlib.suppress(Exception): go()"),
    (catch_alls, "spans", "try: go()\nexcept BaseException as e:\n    note(e)\n    return"),
    (catch_alls, "spans", "try: go()\nexcept Exception as e: throw(None)"),
    (wrappers, "adapters", "def wrap(wrapped, instance, args, kwargs): return wrapped(*args)"),
    (one_platform, "export", "import os, fcntl"),
    (one_platform, "export", "try:\n    from pwd import getpwuid\nexcept ImportError: pass"),
    (one_platform, "export", "class Handler:\n    number = signal.SIGHUP"),
    (one_platform, "export", "from signal import SIGKILL"),
    (private_writes, "spans", "span._name = name"),
    (private_writes, "spans", "self.span._name = name"),
    (private_writes, "spans", "provider._active_span_processor.processors += (mine,)"),
    (private_writes, "spans", "with go() as span._name: pass"),
    (private_writes, "spans", "del span._attributes"),
    (private_writes, "spans", "span._attributes['key'] = value"),
    (private_writes, "spans", "span._attributes._dict.update(more)"),
    (private_writes, "spans", "setattr(span, '_name', name)"),
    (private_writes, "spans", "object.__setattr__(span, '_name', name)"),
    (private_writes, "spans", "delattr(span, name)"),
    (private_writes, "spans", "vars(span)['_name'] = name"),
    (private_writes, "spans", "span.__dict__[key] = name"),
    (long_functions, "spans", "def long():" + "\n    go()" * 60),
]
RIGHT = [
    (wrong_imports, "resilience", "from toolspan import tool"),
    (wrong_imports, "hooks", "import wrapt\nfrom toolspan.hooks import words"),
    (wrong_imports, "adapters", "import json\nfrom toolspan.toolcall import ToolCall"),
    (catch_alls, "spans", "try: go()\nexcept BaseException as error:\n    note(error)\n    raise"),
    (catch_alls, "lifecycle", "try: yield\nexcept BaseException as e: go(inner.throw, e)"),
    (catch_alls, "containment", "try: go()\nexcept Exception: pass"),
    (one_platform, "export", "def late():\n    import fcntl"),
    (one_platform, "export", "import signal\nchosen = signal.SIGTERM"),
    (private_writes, "spans", "self._name = span._name\nself._spans[span._id] = span"),
    (private_writes, "spans", "class A: pass\na = A()\na._b = 1\na._b.append(2)"),
    (private_writes, "spans", "object.__setattr__(self, '_name', name)\nspan.name = name"),
    (private_writes, "testing", "vars(error)['__notes__'] = ['a protocol, and of everybody']"),
    (private_writes, "hooks", "setattr(owner, name, layer)\nlayer._self_word = word"),
    (long_functions, "spans", "def long():" + "\n    go()" * 59),
]


def sources() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert found, f"no sources under {PACKAGE}"
    return found


def texts() -> Iterator[tuple[Path, str]]:
    """Everything that the project publishes, as text."""
    files = [file for file in ROOT.iterdir() if file.is_file()]
    for folder in FOLDERS:
        files += [file for file in (ROOT / folder).rglob("*") if file.is_file()]
    for file in files:
        if "__pycache__" not in file.parts and not file.name.startswith(".coverage"):
            yield file, file.read_text(encoding="utf-8", errors="replace")


def rows(
    read: Callable[[ast.AST, str], Iterable[str]], files: Iterable[Path] | None = None
) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{row}"
        for file in files or sources()
        for row in read(ast.parse(file.read_text(encoding="utf-8")), room_of(file))
    ]


def none(found: Iterable[str]) -> None:
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)


@pytest.mark.parametrize(("reader", "room", "code"), WRONG)
def test_a_reader_sees_what_is_wrong(reader, room, code):
    assert list(reader(ast.parse(code), room))


@pytest.mark.parametrize(("reader", "room", "code"), RIGHT)
def test_a_reader_lets_pass_what_is_right(reader, room, code):
    assert not list(reader(ast.parse(code), room))


def test_every_room_has_a_row_in_the_table_of_imports():
    assert {room_of(file) for file in sources()} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("reader", READERS)
def test_nothing_stands_outside_its_room(reader):
    none(rows(reader))


def test_functions_are_short():
    sizes = [size for file in sources() for _, size in functions(ast.parse(file.read_text()))]
    assert statistics.median(sizes) <= 10
    assert sum(size < 30 for size in sizes) >= 0.9 * len(sizes)


def test_a_file_is_read_in_one_sitting():
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    limits = {file: 150 if room_of(file) == "adapters" else 600 for file in lengths}
    none(f"{file}: {lengths[file]} lines" for file in lengths if lengths[file] > limits[file])


def lines_of_code(source: str) -> int:
    """Lines that hold code: no blank ones, no comments, no docstrings."""
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        says = token.type == tokenize.STRING and token.start[0] in docstrings
        if token.string.strip() and token.type != tokenize.COMMENT and not says:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def test_a_line_of_code_is_neither_blank_nor_comment_nor_docstring():
    assert lines_of_code('"""Says.\n\nMore."""\n\n# why\nx = (\n    1,\n)  # so\n') == 3
    assert lines_of_code('def f():\n    """Says."""\n\n    return """a\nb"""\n') == 3


def test_half_of_the_adapters_hold_under_60_lines_of_code():
    codes = {file.stem: file.read_text() for file in (PACKAGE / "adapters").glob("*.py")}
    sizes = {name: lines_of_code(code) for name, code in codes.items() if "\nADAPTER = " in code}
    assert len(sizes) > 10
    assert statistics.median_low(sizes.values()) < 60, sizes


def test_no_file_is_a_drawer():
    none(str(file) for file in sources() if {file.stem, file.parent.name} & DRAWERS)


def silenced(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and SILENCED.search(token.string):
            yield f"{token.start[0]}: {token.string}"


@pytest.mark.parametrize(
    "comment", ["type: ignore", "noqa", "ruff: noqa", "noqa BLE001", "mypy: ignore-errors"]
)
def test_a_rule_silenced_without_its_code_is_seen(comment):
    assert list(silenced(f"go()  # {comment}\n"))


def test_a_rule_is_silenced_only_by_its_code():
    assert not list(silenced("go()  # type: ignore[attr-defined]  # noqa: BLE001\n"))
    code = [(file, text) for file, text in texts() if file.suffix == ".py"]
    none(f"{file}:{row}" for file, text in code for row in silenced(text))


@pytest.mark.parametrize("folder", ["work", "tmp", "root", "home"])
@pytest.mark.parametrize("before", ["", "cd ", "'", "(", "="])
def test_a_path_of_somebodys_machine_is_seen(before, folder):
    assert WORKPLACE.search(f"{before}/{folder}/x")


@pytest.mark.parametrize("text", ["https://example.com/work/", "~/work/", "a/tmp/", "/worker/"])
def test_a_path_of_nobodys_machine_is_let_pass(text):
    assert not WORKPLACE.search(text)


def test_no_published_text_names_somebodys_machine():
    found = [(file, WORKPLACE.search(text)) for file, text in texts()]
    none(f"{file}: {match}" for file, match in found if match)


@pytest.mark.skipif(not importlib.util.find_spec("ruff"), reason="checked where ruff is")
@pytest.mark.parametrize(
    "command",
    [
        "ruff check",
        "ruff format --check",
        "mypy",
        "mypy tests/run.py",
        "mypy tests/binaries/build.py",
    ],
)
def test_the_checkers_have_nothing_to_say(command):
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
