"""Write table.json from the YAML of the OpenTelemetry GenAI and MCP conventions.

Usage: python generate.py FOLDER [CORE]

FOLDER is a checkout of open-telemetry/semantic-conventions-genai. CORE is a checkout of
open-telemetry/semantic-conventions at the version which FOLDER's model/manifest.yaml names (by
default the folder `semantic-conventions` beside FOLDER): `error.type`, `server.*` and others are
defined there. The table has names, types, levels, kinds, commits and checksums; no sentence.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).with_name("table.json")
REPOSITORY: Final = "https://github.com/open-telemetry/semantic-conventions-genai"
METRICS: Final = ("gen_ai.execute_tool.duration",)
OPERATION: Final = "gen_ai.operation.name"
Entry = dict[str, Any]


def digest(table: Entry) -> str:
    """The SHA-256 of everything in the table but itself: a hand on the table breaks it."""
    content = {key: value for key, value in table.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Checkout:
    """A clean checkout at one commit, and the checksums of what was read from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        if self.git("status", "--porcelain", "--", "model"):
            raise SystemExit(f"{folder}: model/ is not as its commit has it")
        self.commit = self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        command = ("git", "-C", str(self.folder), *words)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.folder}: git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def read(self, name: str) -> Entry:
        try:
            yaml = importlib.import_module("yaml")
        except ImportError:
            raise SystemExit("the generator needs PyYAML: pip install pyyaml") from None
        content = (self.folder / name).read_bytes()
        self.files[name] = hashlib.sha256(content).hexdigest()
        loaded: Entry = yaml.safe_load(content)
        return loaded


def one_line(text: object) -> str:
    """A note as one line: the YAML breaks lines anywhere."""
    return " ".join(str(text or "").split())


def quoted(text: str) -> list[str]:
    """The words between backticks."""
    return re.findall(r"`([^`]+)`", text)


def attribute_type(entry: Entry) -> Entry:
    """Type and, of an enum, its members; custom values are allowed unless the YAML forbids them."""
    stated = entry["type"]
    if isinstance(stated, str):
        return {"type": stated}
    members = [member["value"] for member in stated["members"]]
    kind = "string" if isinstance(members[0], str) else "int"
    return {"type": kind, "members": members, "open": stated.get("allow_custom_values", True)}


def definitions(file: Entry) -> dict[str, Entry]:
    """Every attribute that a file defines, in the newer form of the YAML or the older."""
    older = [entry for group in file.get("groups", ()) for entry in group["attributes"]]
    return {
        entry.get("key") or entry["id"]: attribute_type(entry)
        for entry in (*file.get("attributes", ()), *older)
    }


def resolve(entries: Iterable[Entry], groups: dict[str, list[Entry]]) -> dict[str, Entry]:
    """Attribute references by name; what a span says itself stands above what a group says."""
    entries = list(entries)
    found: dict[str, Entry] = {}
    for entry in entries:
        if "ref_group" in entry:
            found.update(resolve(groups[entry["ref_group"]], groups))
    for entry in entries:
        if "ref" in entry:
            found[entry["ref"]] = {**found.get(entry["ref"], {}), **entry}
    return found


def level(entry: Entry) -> str:
    """The requirement level without its condition; the conventions' default is recommended."""
    stated = entry.get("requirement_level", "recommended")
    return stated if isinstance(stated, str) else str(next(iter(stated)))


def due_with(entry: Entry) -> str | None:
    """The attribute beside which this one is required, where that is its whole condition."""
    stated = entry.get("requirement_level")
    text = one_line(stated.get("conditionally_required")) if isinstance(stated, dict) else ""
    found = re.fullmatch(r"(?:If|When) `([\w.]+)` is set\.?", text)
    return found and found[1]


def attribute_rows(attributes: dict[str, Entry]) -> Entry:
    """Levels by name, and the conditions that are names themselves."""
    return {
        "attributes": {name: level(entry) for name, entry in attributes.items()},
        "due_with": {
            name: other for name, entry in attributes.items() if (other := due_with(entry))
        },
    }


def span_kinds(span: Entry) -> list[str]:
    """The kind, and those that the note allows beside it."""
    allowed = re.findall(r"MAY be set to `([A-Z]+)`", one_line(span.get("note")))
    return [span["kind"], *(kind.lower() for kind in allowed)]


def span_names(span: Entry) -> list[str]:
    """Name formats, the best first."""
    note = one_line(span["name"]["note"])
    targets = re.search(r"target SHOULD match (`[^`]+`(?: or `[^`]+`)*)", note)
    filled = []
    for form in re.findall(r"SHOULD (?:be|follow the format) `([^`]+)`", note):
        fillings = quoted(targets[1]) if targets and "{target}" in form else [""]
        filled += [form.replace("{target}", filling) for filling in fillings]
    return filled


def span_operations(span: Entry) -> list[str]:
    """The values of gen_ai.operation.name that make a span one of this type."""
    found = re.search(rf"`{re.escape(OPERATION)}` SHOULD be ([^.]*)", one_line(span.get("note")))
    return quoted(found[1]) if found else []


def harmless_codes(attributes: dict[str, Entry]) -> list[str]:
    """The JSON-RPC error codes that are no error of this side."""
    note = one_line(attributes.get("rpc.response.status_code", {}).get("note"))
    if "SHOULD NOT be considered errors" not in note:
        return []
    return [word for word in quoted(note) if re.fullmatch(r"-\d+", word)]


def span_row(span: Entry, groups: dict[str, list[Entry]]) -> Entry:
    attributes = resolve(span["attributes"], groups)
    return {
        "kinds": span_kinds(span),
        "names": span_names(span),
        "operations": span_operations(span),
        "harmless_codes": harmless_codes(attributes),
        **attribute_rows(attributes),
    }


def metric_row(metric: Entry, groups: dict[str, list[Entry]]) -> Entry:
    rows = attribute_rows(resolve(metric["attributes"], groups))
    return {"instrument": metric["instrument"], "unit": metric["unit"], **rows}


def give_unclaimed(spans: Entry, operations: list[str]) -> None:
    """The operations that no type names are those of the one type that names none."""
    claimed = {operation for row in spans.values() for operation in row["operations"]}
    needs_one = [row for row in spans.values() if row["attributes"].get(OPERATION) == "required"]
    silent = [row for row in needs_one if not row["operations"]]
    if len(silent) == 1:
        silent[0]["operations"] = [name for name in operations if name not in claimed]


def core_types(checkout: Checkout, core: Checkout, names: set[str]) -> dict[str, Entry]:
    """What the main conventions define, each namespace in its own file."""
    dependency = checkout.read("model/manifest.yaml")["dependencies"][0]["registry_path"]
    version = dependency.partition("@")[2].removesuffix("[model]")
    if core.git("rev-parse", f"{version}^{{commit}}") != core.commit:
        raise SystemExit(f"{core.folder}: check out {version}, which model/manifest.yaml names")
    types: dict[str, Entry] = {}
    for namespace in sorted({name.partition(".")[0] for name in names}):
        types |= definitions(core.read(f"model/{namespace}/registry.yaml"))
    if missing := sorted(names - types.keys()):
        raise SystemExit(f"defined nowhere: {', '.join(missing)}")
    return {name: types[name] for name in names}


def build(checkout: Checkout, core: Checkout) -> Entry:
    """The whole table."""
    found = [
        path for part in ("gen-ai", "mcp") for path in checkout.folder.glob(f"model/{part}/*.yaml")
    ]
    files = [checkout.read(path.relative_to(checkout.folder).as_posix()) for path in sorted(found)]

    def entries(part: str) -> list[Entry]:
        return [entry for file in files for entry in file.get(part, ())]

    groups = {group["id"]: group["attributes"] for group in entries("attribute_groups")}
    types = {name: row for file in files for name, row in definitions(file).items()}
    spans = {span["type"]: span_row(span, groups) for span in entries("spans")}
    metrics = {
        row["name"]: metric_row(row, groups) for row in entries("metrics") if row["name"] in METRICS
    }
    give_unclaimed(spans, types[OPERATION]["members"])
    used = {name for row in (*spans.values(), *metrics.values()) for name in row["attributes"]}
    types |= core_types(checkout, core, used - types.keys())
    table = {
        "repository": REPOSITORY,
        "commit": checkout.commit,
        "files": checkout.files,
        "core": {"commit": core.commit, "files": core.files},
        "attributes": types,
        "spans": spans,
        "metrics": metrics,
    }
    return {**table, "digest": digest(table)}


def main(arguments: list[str]) -> None:
    if len(arguments) not in {1, 2}:
        raise SystemExit(__doc__)
    folder = Path(arguments[0])
    core = Path(arguments[1]) if len(arguments) > 1 else folder.parent / "semantic-conventions"
    table = build(Checkout(folder), Checkout(core))
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{TABLE.name}: {len(table['spans'])} spans, commit {table['commit']}")


if __name__ == "__main__":
    main(sys.argv[1:])
