"""What of arguments and results may be written: sizes, fingerprints, text under a cap."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from toolspan.content import Redactor, fingerprint, render, size_of

KEY = b"k" * 32
RULES = Redactor()
LIMITS = (64, 100, 1_000, 64_000)


def test_a_size_is_what_len_says_of_text_and_bytes():
    assert size_of("été") == 3
    assert size_of(b"\x00\x01") == 2
    assert size_of({"a": "xy", "b": 5, "c": b"123"}) == 5
    assert size_of([{"type": "text", "text": "four"}, "ab"]) == 6
    assert size_of({"a": 1, "b": 2}) is None
    assert size_of(object()) is None


def test_equal_arguments_have_equal_fingerprints_in_any_order_of_keys():
    assert fingerprint({"a": 1, "b": [2, "x"]}, KEY) == fingerprint({"b": [2, "x"], "a": 1}, KEY)


def test_values_that_differ_have_other_fingerprints():
    marks = [fingerprint({"a": value}, KEY) for value in (1, True, 1.0, "1", None, b"1", [1], {})]
    assert None not in marks
    assert len(set(marks)) == len(marks)


def test_a_fingerprint_depends_on_its_key():
    assert fingerprint({"pin": 1234}, KEY) != fingerprint({"pin": 1234}, b"other")


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, {"a": type("T", (str,), {})()}])
def test_anything_but_exact_built_in_types_has_no_fingerprint(value):
    assert fingerprint(value, KEY) is None


def test_a_long_text_enters_as_its_head_and_length():
    text = "x" * 100_000
    assert fingerprint({"t": text + "a"}, KEY) == fingerprint({"t": text + "b"}, KEY)
    assert fingerprint({"t": text + "a"}, KEY) != fingerprint({"t": text}, KEY)


def test_a_cycle_has_no_fingerprint_and_is_rendered():
    value = {"a": 1}
    value["self"] = value
    assert fingerprint(value, KEY) is None
    assert json.loads(render(value, 1_000, RULES).text)["a"] == 1


def structure(chance, depth=0):
    kind = chance.randrange(9 if depth < 4 else 5)
    if kind < 2:
        return "".join(chance.choice('aé𝄞"\\\n\ud83d ') for _ in range(chance.randrange(60)))
    if kind < 5:
        return chance.choice([None, True, 1, -7, 2.5, float("nan"), 2**70])
    if kind < 7:
        return [structure(chance, depth + 1) for _ in range(chance.randrange(8))]
    return {
        f"k{chance.randrange(99)}": structure(chance, depth + 1) for _ in range(chance.randrange(8))
    }


@pytest.mark.parametrize("limit", LIMITS)
def test_a_cut_value_still_parses_and_keeps_its_limit(limit):
    chance = random.Random(limit)
    for _ in range(400):
        value = [structure(chance), structure(chance)]
        text, truncated = render(value, limit, RULES)
        assert len(text.encode()) <= limit
        parsed = json.loads(text, parse_constant=lambda name: pytest.fail(name))
        if not truncated:
            assert len(parsed) == 2


@pytest.mark.parametrize("limit", LIMITS)
def test_a_cut_text_says_in_front_that_it_was_cut_and_how_long_it_was(limit):
    text, truncated = render("é" * 100_000, limit, RULES)
    assert truncated
    assert len(text.encode()) <= limit
    assert text.startswith("[cut: 100000 characters] ")


def test_without_a_cap_nothing_is_cut():
    assert render("x" * 200_000, None, RULES) == ("x" * 200_000, False)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Passwd",
        "client_secret",
        "access_token",
        "X-Api-Key",
        "Authorization",
        "cookie",
        "credentials",
        "private_key",
        "passphrase",
        "card_pin",
        "otp",
        "ssn",
        "cvv",
    ],
)
def test_a_secret_is_redacted_by_its_key_at_any_depth_and_in_raw_json(key):
    value = {"a": [{"b": {key: "canary-secret", "kept": "visible"}}]}
    for given in (value, json.dumps(value), {"raw": json.dumps(value)}):
        text = render(given, 64_000, RULES).text
        assert "canary-secret" not in text
        assert "visible" in text
        assert "[redacted]" in text


@pytest.mark.parametrize("key", ["max_tokens", "tokenizer", "spinner", "option", "secretary"])
def test_a_harmless_key_keeps_its_value(key):
    assert "seen" in render({key: "seen"}, 1_000, RULES).text


@pytest.mark.contains
def test_a_redactor_that_fails_never_leaves_the_value():
    def failing(path, value, tool):
        raise ValueError(path)

    text = render({"a": "canary-secret"}, 1_000, Redactor((), failing), "search").text
    assert "canary-secret" not in text
    assert "[redaction failed]" in text


COST = """
import resource, time
from toolspan.content import Redactor, render
made = {make}
rules = Redactor()
render(["warm"], 64_000, rules)
def high(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, best = high(), 9.0
for _ in range(5):
    start = time.perf_counter()
    render(made, 64_000, rules)
    best = min(best, time.perf_counter() - start)
print(high() - before, best)
"""


@pytest.mark.parametrize(
    "make",
    ["'x' * 200_000_000", "['x' * 1000] * 200_000", "{str(i): i for i in range(10**6)}"],
    ids=["200 MB of text", "200 MB in a list", "a million keys"],
)
def test_a_200_mb_result_adds_under_2_mb_and_50_ms(make):
    done = subprocess.run(
        [sys.executable, "-c", COST.replace("{make}", make)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    kilobytes, seconds = map(float, done.stdout.split())
    assert kilobytes < 2_000
    assert seconds < 0.050
