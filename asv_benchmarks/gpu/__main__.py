"""Tests and times on a GPU: ``python -m gpu FOLDER``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .cases import CASES, Pass
from .timing import microseconds

_ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, str]:
    names = "numba", "numba-cuda", "cuda-bindings", "cupy-cuda13x", "numpy"
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "GPU": torch.cuda.get_device_name(),
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "cuDNN": str(torch.backends.cudnn.version()),
        **versions,
    }


def run_tests(folder: Path, seconds: float) -> str:
    """The last line that pytest prints; of each test it says so at once how it ended."""
    command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-m", "gpu"]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark", "-W", "default"]
    if find_spec("xdist") is not None:
        command += ["-n", str(os.cpu_count())]
    log = folder / "tests.log"
    with log.open("w") as to:
        tests = subprocess.Popen(command, cwd=_ROOT, stdout=to, stderr=subprocess.STDOUT)
        try:
            tests.wait(seconds)
        except subprocess.TimeoutExpired:
            tests.send_signal(signal.SIGINT)  # pytest then reports what it has
            tests.wait()
    lines = log.read_text().strip().splitlines()
    return lines[-1] if lines else "no tests ran"


def bandwidth() -> float:
    """Bytes that a copy reads and writes in a second."""
    a = torch.empty(1 << 28, device="cuda")
    b = torch.empty_like(a)
    return 1e6 * 2 * a.nbytes / microseconds(lambda: b.copy_(a))


def measure(which: Pass) -> dict[str, Any]:
    times = {}
    for who, call in which.calls.items():
        times[who] = microseconds(call)
    return {
        "pass": which.name,
        "bytes": which.bytes,
        "flops": which.flops,
        "microseconds": times,
        "errors": which.errors,
    }


# --- Markdown -------------------------------------------------------------------------------------


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def over_memory(found: dict[str, Any], copy: float) -> list[list[str]]:
    rows = []
    for case, passes in found.items():
        for each in passes:
            if not each["bytes"]:
                continue
            times = each["microseconds"]
            mine = times["fastopt"]
            peers = {who: taken for who, taken in times.items() if who != "fastopt"}
            peer = min(peers, key=peers.__getitem__) if peers else None
            share = each["bytes"] / mine * 1e6 / copy
            rows.append(
                [
                    f"{each['pass']}, {case[case.index('(') :]}",
                    f"{mine:.0f}",
                    "" if peer is None else f"{peers[peer]:.0f} ({peer})",
                    "" if peer is None else f"{mine / peers[peer]:.2f}",
                    f"{100 * share:.0f} %",
                ]
            )
    return rows


def products(found: dict[str, Any]) -> list[list[str]]:
    rows = []
    for case, passes in found.items():
        for each in passes:
            if each["bytes"] or not each["flops"]:
                continue
            times = each["microseconds"]
            rate = {who: each["flops"] / taken / 1e6 for who, taken in times.items()}
            plain = {who: r for who, r in rate.items() if who.startswith("cuDNN, ")}
            transforms = {
                who: plain.pop(who) for who in list(plain) if "FFT" in who or "Winograd" in who
            }

            def best(rates: dict[str, float]) -> str:
                return f"{max(rates.values()):.1f}" if rates else ""

            rows.append(
                [
                    f"{each['pass']}, {case[case.index('(') :]}",
                    *(
                        f"{rate[who]:.1f}"
                        for who in ("fastopt", "fastopt, 3xTF32", "fastopt, TF32")
                    ),
                    best(plain),
                    best(transforms),
                    f"{rate['PyTorch']:.1f}",
                    f"{rate['PyTorch, TF32']:.1f}",
                    " / ".join(
                        f"{each['errors'][who]:.0e}"
                        for who in ("fastopt", "fastopt, 3xTF32", "fastopt, TF32")
                    ),
                ]
            )
    return rows


def markdown(facts: dict[str, Any]) -> str:
    parts = [
        ", ".join(f"{name} {value}" for name, value in facts["machine"].items()) + ".\n",
        f"Tests: {facts['tests']}.\n" if facts["tests"] else "",
        f"A copy moves {facts['copy'] / 1e9:.0f} GB/s, bytes read and written.\n",
        "### Passes over memory\n",
        table(
            ["", "fastopt, µs", "fastest peer, µs", "ratio", "of the copy's bandwidth"],
            over_memory(facts["passes"], facts["copy"]),
        ),
        "### Products, TFLOP/s\n",
        table(
            [
                "", "fastopt", "3xTF32", "TF32", "cuDNN without transforms",
                "cuDNN, Winograd or FFT", "PyTorch", "PyTorch, TF32", "errors of the first three",
            ],
            products(facts["passes"]),
        ),
    ]  # fmt: skip
    if facts["launches"]:
        rows = [[name, f"{taken:.1f}"] for name, taken in facts["launches"].items()]
        parts += ["### Time of the host to start it, µs\n", table(["", "µs"], rows)]
    if facts["steps"]:
        rows = [
            [name, f"{each['GPU']:.0f}", f"{each['host']:.0f}"]
            for name, each in facts["steps"].items()
        ]
        parts += ["### A step of LeNet-5, µs\n", table(["", "GPU", "host"], rows)]
    if facts["trainings"]:
        rows = [
            [
                name,
                f"{each['seconds']:.2f}",
                f"{each['loss']:.5f}",
                f"{100 * each['test accuracy']:.2f} %",
            ]
            for name, each in facts["trainings"].items()
        ]
        head = ["", "seconds", "loss", "test accuracy"]
        parts += ["### A training of LeNet-5, 20 epochs\n", table(head, rows)]
    if facts["failures"]:
        rows = [[name, reason] for name, reason in facts["failures"].items()]
        parts += ["### What failed\n", table(["", ""], rows)]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    parser.add_argument("folder", type=Path, help="where gpu.md and gpu.json go")
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument(
        "--seconds", type=float, default=900, help="what has not begun by then is left out"
    )
    parser.add_argument("--no-tests", action="store_true", help="times alone")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU")
    end = time.perf_counter() + given.seconds
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    given.folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "machine": machine(),
        "tests": "" if given.no_tests else run_tests(given.folder, given.seconds / 2),
        "copy": bandwidth(),
        "passes": {},
        "launches": {},
        "steps": {},
        "trainings": {},
        "failures": {},
    }
    print(facts["tests"], flush=True)

    def attempt(name: str, what: Any) -> Any:
        """What one case finds; another must not suffer where it fails."""
        if time.perf_counter() > end:
            facts["failures"][name] = "no time was left"
            return {}
        try:
            return what()
        except Exception as error:
            traceback.print_exc()
            facts["failures"][name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            return {}

    from . import networks

    if not given.only:
        for name in ("launches", "steps", "trainings"):
            facts[name] = attempt(name, getattr(networks, name))
    for name, make in CASES.items():
        if given.only in name:
            passes: list[dict[str, Any]] = []
            facts["passes"][name] = passes
            attempt(name, lambda make=make, passes=passes: passes.extend(map(measure, make())))
            torch.cuda.empty_cache()
    (given.folder / "gpu.json").write_text(json.dumps(facts, indent=1))
    (given.folder / "gpu.md").write_text(markdown(facts))
    print(markdown(facts))


if __name__ == "__main__":
    main()
