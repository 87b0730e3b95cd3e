"""Count the CPU instructions of one tool call, in units of F.

    python benchmarks/instructions.py            all cases, in one process under callgrind
    python benchmarks/instructions.py --list     the cases

F is one span with five attributes, made current by `start_as_current_span`, the child of an
active span, through a BatchSpanProcessor with an exporter that does nothing. Instructions repeat
within 0.3 % whatever else the machine does; seconds do not. Needs valgrind.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 200
WARM_UP = 60
#: case -> the most it may cost, in F
LIMITS = {
    "two ints": 1.20,
    "texts in and out, in a run": 1.30,
    "recording histogram": 1.60,
    "content on, small": 1.50,
    "content on, 100 kB in and out": 10.0,
    "sampled out": 0.45,
    "suppressed": 0.06,
}
#: case -> the cases that it holds, and the most it may add to them, in F
ADDED = {
    "100 kB argument": (("texts in and out",), 0.3),
    "a shell's dict out": (("a dict out, of no family",), 0.6),
    "an exception, 10 frames": (("two ints", "the same exception, untraced"), 0.4),
}
#: case -> the case that it holds, and the most it may add to that, in instructions
INSTRUCTIONS = {"statistics alone": ("the same, telling nothing", 7_000)}


def main() -> int:
    """Run the cases under callgrind and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--inside", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        print("\n".join([*LIMITS, *ADDED, *INSTRUCTIONS]))
    elif options.inside:
        run_cases(Path(options.inside))
    elif shutil.which("valgrind") is None:
        print("valgrind is not installed (apt-get install valgrind)", file=sys.stderr)
        return 2
    else:
        return measure()
    return 0


def measure() -> int:
    """Run this program under callgrind and print each case beside its limit."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "names")
        subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--dump-before=getpriority"),
                f"--callgrind-out-file={folder}/out",
                *(sys.executable, __file__, "--inside", str(names)),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0", "TOOLSPAN_FINGERPRINT_KEY": "benchmark"},
        )
        costs = read_costs(Path(folder), names.read_text().splitlines())
    floor = costs["F"]
    print(f"F = {floor:,.0f} instructions, Python {sys.version.split()[0]}")
    over = [name for name in costs if show(name, costs, floor)]
    return 1 if over else 0


def show(name: str, costs: dict[str, float], floor: float) -> bool:
    """Print one case beside its limit, and say whether it is over it."""
    cost, note, dear = costs[name], "", False
    if name in LIMITS:
        note, dear = f"<= {LIMITS[name]:.2f}", cost / floor > LIMITS[name]
    elif name in ADDED:
        within, limit = ADDED[name]
        added = (cost - sum(costs[one] for one in within)) / floor
        note, dear = f"adds {added:.2f} <= {limit:.2f}", added > limit
    elif name in INSTRUCTIONS:
        within, limit = INSTRUCTIONS[name]
        added = cost - costs[within]
        note, dear = f"adds {added:,.0f} <= {limit:,} instructions", added > limit
    print(f"{name:38} {cost:12,.0f}  {cost / floor:6.3f} F  {note}{'  OVER' if dear else ''}")
    return dear


def read_costs(folder: Path, names: list[str]) -> dict[str, float]:
    """The instructions of each case: every second dump holds a case's rounds."""
    dumps = sorted(folder.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    total = re.compile(r"^totals: (\d+)", re.MULTILINE)
    counted = [int(total.search(path.read_text())[1]) for path in dumps]
    return {name: count / ROUNDS for name, count in zip(names, counted[1::2], strict=False)}


def run_cases(names: Path) -> None:
    """Inside callgrind: run each case between two calls that make it dump its counters."""
    from cases import CASES

    from toolspan import containment

    done = []
    for name, prepare in CASES.items():
        with prepare() as once:
            for _ in range(WARM_UP):
                once()
            gc.collect()
            gc.freeze()  # whatever else is alive is none of a call's business
            os.getpriority(os.PRIO_PROCESS, 0)
            for _ in range(ROUNDS):
                once()
            os.getpriority(os.PRIO_PROCESS, 0)
        assert not containment.failures, containment.failures  # a call that fails is cheap
        done.append(name)
    names.write_text("\n".join(done))


if __name__ == "__main__":
    sys.exit(main())
