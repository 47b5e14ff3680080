"""Breaks one line at a time, and looks whether the quick tests notice.

All single mutants of the rooms that decide (`ROOMS`) are made; some are drawn by a seed, and for each
the tests run that reach the broken function, the quickest first, up to the first that fails:

    python benchmarks/mutants.py --seed 1 --count 60

The tests are `TESTS`: together they take less than a minute, and need neither a framework nor a
cluster. Mutants that nobody could notice stand in `equivalent.toml` with the reason, by name.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import difflib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: What is broken, as patterns in the package.
ROOMS = (
    "core/*.py",
    "optimizers/*.py",
    "earlystop/*.py",
    "store/journal.py",
    "store/replay.py",
    "store/restore.py",
    "runs/driver.py",
    "config/load.py",
    "config/validation.py",
    "config/ablate.py",
    "config/arguments.py",
    "training/checkpoint.py",
    "ablation/study.py",
    "ablation/ablators.py",
    "ablation/runner.py",
)
#: What shall notice.
TESTS = (
    "tests/core",
    "tests/policies",
    "tests/store",
    "tests/space",
    "tests/config",
    "tests/training/test_checkpoint.py",
)
#: Tests among them that start processes or need a framework, by a part of their name.
SLOW = (
    "test_every_strategy_keeps_the_contract",
    "test_another_process_with_another_hash_seed",
    "test_a_run_goes_on_to_the_same_end[v1/ablation]",
    "test_a_page_and_event_files_can_be_made",
    "test_what_is_seldom_drawn_is_found_in_a_space_too_large",
    "test_json_schema",
    "test_reference",
    "test_catalogue",
)
COPIED = ("dotrain", "tests", "configs", "recipes", "docs", "benchmarks", "pyproject.toml")

_SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Add,),
    ast.Pow: (ast.Mult,),
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_CPU_S = 10.0  #: Granted to a mutant's tests beyond three times what they took before.
_WAIT_S = 120.0  #: The longest a mutant's tests may wait, in seconds.


@dataclass(frozen=True)
class Mutant:
    """One broken line.

    Attributes:
        file: The module, in the package.
        function: The function around it, or ``""``.
        start: Where what is replaced begins in the file's text, in bytes.
        end: Where it ends.
        text: What stands there instead.
        name: What tells it from all others, whatever moves around it.
    """

    file: str
    function: str
    start: int
    end: int
    text: str
    name: str

    def apply(self, source: bytes) -> bytes:
        """Return the broken text."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def diff(self) -> str:
        """Return what is broken, as a diff without context."""
        source = (ROOT / "dotrain" / self.file).read_bytes()
        before, after = (s.decode().splitlines() for s in (source, self.apply(source)))
        return "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=0))[2:])


def mutants_of(file: str) -> list[Mutant]:
    """Return every mutant of a module, in the order of its text."""
    return _Breaker(file).found


class _Breaker(ast.NodeVisitor):
    """Walks a module, and breaks what it finds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.source = (ROOT / "dotrain" / file).read_bytes()
        lines = self.source.splitlines(keepends=True)
        self.starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
        self.scope: list[str] = []
        self.function = ""
        self.bound: dict[str, int] = {}
        self.found: list[Mutant] = []
        self.names: dict[str, int] = {}
        self.visit(ast.parse(self.source))

    def add(self, node: Any, text: str, what: str) -> None:
        start = self.starts[node.lineno - 1] + node.col_offset
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        before = " ".join(self.source[start:end].decode().split())
        if before == text:
            return
        after = text[1:-1] if text.startswith("(") else text
        name = f"{self.file}:{'.'.join(self.scope)}: {what}: {before[:70]} -> {after[:70]}"
        count = self.names[name] = self.names.get(name, 0) + 1
        name = name if count == 1 else f"{name} ({count})"
        self.found.append(Mutant(self.file, self.function, start, end, text, name))

    def swap(self, node: ast.expr, new: ast.expr, what: str) -> None:
        self.add(node, f"({ast.unparse(ast.fix_missing_locations(new))})", what)

    # Scopes.

    def visit_Module(self, node: ast.Module) -> None:
        self._body(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in ("validate", "__repr__"):
            return  # checks of our own, and what only debuggers see
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        outer = self.function, self.bound
        self.scope.append(node.name)
        self.function = ".".join(self.scope)
        self.bound = {}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                self.bound[inner.id] = self.bound.get(inner.id, 0) + 1
        self._body(node.body)
        self.scope.pop()
        self.function, self.bound = outer

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            return
        self.scope.append(node.name)
        self._body(node.body)
        self.scope.pop()

    def _body(self, body: list[ast.stmt]) -> None:
        for statement in body:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not is_text:
                self.visit(statement)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            if isinstance(node.target, ast.Attribute) and self.function:
                self.add(node, "pass", "leave out")

    def visit_Assert(self, node: ast.Assert) -> None:
        """Leave alone: it is a check itself."""

    def visit_Import(self, node: ast.Import) -> None:
        """Leave alone."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave alone: words for people."""

    # Statements.

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Yield | ast.YieldFrom):
            self.add(node, "pass", "leave out")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        kept = any(not isinstance(t, ast.Name) or self.bound.get(t.id, 0) > 1 for t in node.targets)
        # Without the only assignment of a name there is a NameError, which proves nothing.
        if self.function and kept and not isinstance(node.targets[0], ast.Tuple):
            self.add(node, "pass", "leave out")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target, value = ast.unparse(node.target), ast.unparse(node.value)
        self.add(node, "pass", "leave out")
        self.add(node, f"{target} = {value}", "assign")
        if isinstance(node.op, ast.Add | ast.Sub):
            sign = "-" if isinstance(node.op, ast.Add) else "+"
            self.add(node, f"{target} {sign}= {value}", "sign")
        self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.add(node, "pass", "leave out")

    def visit_Delete(self, node: ast.Delete) -> None:
        self.add(node, "pass", "leave out")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self.add(node, "pass", "leave out")
        elif not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.add(node.value, "None", "return")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self.add(node, "continue", "loop")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.add(node, "break", "loop")

    def visit_If(self, node: ast.If) -> None:
        self.add(node.test, "True", "condition")
        self.add(node.test, "False", "condition")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.add(node.test, "False", "condition")
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if isinstance(node.type, ast.Tuple):
            for kind in node.type.elts:
                rest = [ast.unparse(k) for k in node.type.elts if k is not kind]
                self.add(node.type, f"({', '.join(rest)},)", "except")
        elif node.type is not None:
            self.add(node.type, "()", "except")
        for statement in node.body:
            self.visit(statement)

    # Expressions.

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.add(node.test, "True", "condition")
        self.add(node.test, "False", "condition")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.add(test, "True", "condition")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for index, operator in enumerate(node.ops):
            for kind in _SWAPS.get(type(operator), ()):
                ops = [*node.ops]
                ops[index] = kind()  # type: ignore[call-overload]
                self.swap(node, ast.Compare(node.left, ops, node.comparators), "compare")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self.swap(node, ast.BoolOp(other, node.values), "and/or")
        for value in node.values:
            rest = [v for v in node.values if v is not value]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            self.swap(node, new, "operand")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self.swap(node, node.operand, "not" if isinstance(node.op, ast.Not) else "sign")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        is_text = any(
            isinstance(v, ast.JoinedStr)
            or (isinstance(v, ast.Constant) and isinstance(v.value, str))
            for v in (node.left, node.right)
        )
        for kind in () if is_text else _SWAPS.get(type(node.op), ()):
            new = ast.BinOp(node.left, kind(), node.right)  # type: ignore[arg-type]
            self.swap(node, new, "arithmetic")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add(node, str(not value), "constant")
        elif isinstance(value, int):
            self.add(node, str(value + 1), "constant")
            if value:
                self.add(node, str(value - 1), "constant")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            self.add(node.func, _CALLS[node.func.id], "call")
        for keyword in node.keywords:
            if keyword.arg is not None:
                rest = [k for k in node.keywords if k is not keyword]
                self.swap(node, ast.Call(node.func, node.args, rest), f"without {keyword.arg}")
        self.generic_visit(node)


# Running.


class _Reach:
    """A pytest plugin: which tests enter which functions, and how long each takes."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.times: dict[str, float] = {}
        self.entered: dict[str, list[str]] = {}
        self.now: set[tuple[str, str]] = set()

    def _trace(self, frame: Any, event: str, argument: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(self.package):
            self.now.add((code.co_filename, code.co_qualname))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [i for i in items if not any(part in i.nodeid for part in SLOW)]

    def pytest_runtest_protocol(self, item: Any) -> None:
        self.now = set()
        self.began_s = time.process_time()
        sys.settrace(self._trace)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        sys.settrace(None)
        self.times[nodeid] = time.process_time() - self.began_s
        self.entered[nodeid] = sorted(
            f"{Path(file).relative_to(self.package)}:{name.replace('.<locals>', '')}"
            for file, name in self.now
        )


class _Only:
    """A pytest plugin: only these tests, in this order."""

    def __init__(self, wanted: list[str]) -> None:
        self.order = {test: index for index, test in enumerate(wanted)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted(
            (i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid]
        )

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class Bench:
    """A copy of the project in which one module after the other is broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / name, folder / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder / name)
        for found in ROOT.glob("*.egg-info"):
            shutil.copytree(found, folder / found.name)
        # By content: a broken module is compiled anew, though of the same size and second.
        mode = PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(str(folder / "dotrain"), quiet=2, invalidation_mode=mode)
        self.times: dict[str, float] = {}
        self.entered: dict[str, list[str]] = {}

    def child(
        self, act: Callable[[], dict[str, Any]], cpu_s: float, wait_s: float
    ) -> dict[str, Any]:
        """Do something in a process of its own; what has been imported here is there already."""
        answer, log = self.folder / "answer.json", self.folder / "log.txt"
        answer.unlink(missing_ok=True)
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 2))
                output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.chdir(self.folder)
                sys.path.insert(0, str(self.folder))
                os.environ |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
                importlib.invalidate_caches()
                answer.write_text(json.dumps(act()))
            os._exit(0)
        until = time.monotonic() + wait_s
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                break
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what a broken test has left running
        return dict(json.loads(answer.read_text())) if answer.exists() else {}

    def measure(self) -> None:
        """Run all tests once, unbroken.

        Raises:
            SystemExit: If one fails: nothing can be told then.
        """

        def act() -> dict[str, Any]:
            import pytest

            reach = _Reach(str(self.folder / "dotrain") + "/")
            code = pytest.main([*_options(), *TESTS], plugins=[reach])
            modules = [
                name
                for name, module in list(sys.modules.items())
                if name.split(".")[0] not in ("dotrain", "tests", "__main__")
                and getattr(module, "__spec__", None) is not None
            ]
            return {
                "code": int(code),
                "times": reach.times,
                "entered": reach.entered,
                "modules": modules,
            }

        told = self.child(act, 900, 1800)
        if told.get("code") != 0:
            raise SystemExit(f"the tests fail unbroken:\n{(self.folder / 'log.txt').read_text()}")
        self.times, self.entered = told["times"], told["entered"]
        for name in told["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice, the quickest first."""
        function = f"{mutant.file}:{mutant.function}"
        reached = [test for test, entered in self.entered.items() if function in entered]
        if not mutant.function:  # runs when the module is imported
            reached = [
                test
                for test, entered in self.entered.items()
                if any(one.startswith(f"{mutant.file}:") for one in entered)
            ] or list(self.entered)
        return sorted(reached, key=lambda test: round(self.times[test], 2))

    def notice(self, mutant: Mutant) -> str:
        """Return which test notices a mutant, or ``""``."""
        tests = self.tests_of(mutant)
        if not tests:
            return ""
        file = self.folder / "dotrain" / mutant.file
        sound = file.read_bytes()
        file.write_bytes(mutant.apply(sound))

        def act() -> dict[str, Any]:
            import pytest

            only = _Only(tests)
            files = list(dict.fromkeys(test.split("::")[0] for test in tests))
            sys.dont_write_bytecode = True
            code = pytest.main([*_options(), "-x", "-o", "timeout=30", *files], plugins=[only])
            return {"code": int(code), "failed": only.failed}

        try:
            took_s = sum(self.times[test] for test in tests)
            told = self.child(act, 3 * took_s + _CPU_S, _WAIT_S + 6 * took_s)
        finally:
            file.write_bytes(sound)
        if not told:
            return "(out of time)"
        return "" if told["code"] == 0 else told["failed"] or "(can't be collected)"


def _options() -> list[str]:
    return ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", "--no-header"]


def equivalent() -> dict[str, str]:
    """Return why a mutant can't be noticed, by its name."""
    file = Path(__file__).with_name("equivalent.toml")
    return dict(tomllib.loads(file.read_text()))


def all_mutants(pattern: str = "") -> Iterator[Mutant]:
    """Yield every mutant of every room, but those that nobody could notice."""
    package = ROOT / "dotrain"
    struck_out = equivalent()
    for room in ROOMS:
        for file in sorted(package.glob(room)):
            for mutant in mutants_of(str(file.relative_to(package))):
                if mutant.name not in struck_out and pattern in mutant.name:
                    yield mutant


def main() -> None:
    """Draw, break, and say what was noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--count", type=int, default=60, help="how many are drawn")
    parser.add_argument("--only", default="", help="draw from those with this in their name")
    parser.add_argument("--list", action="store_true", help="print the names, run nothing")
    asked = parser.parse_args()
    known = list(all_mutants(asked.only))
    drawn = Random(asked.seed).sample(known, min(asked.count, len(known)))
    if asked.list:
        print("\n".join(mutant.name for mutant in drawn))
        return
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        bench = Bench(Path(folder).resolve())
        bench.measure()
        print(
            f"{len(known)} mutants, {len(bench.times)} tests that take "
            f"{sum(bench.times.values()):.0f} s of processor time"
        )
        for number, mutant in enumerate(drawn, 1):
            noticed = bench.notice(mutant)
            print(f"{number:3} {'noticed ' if noticed else 'SURVIVES'} {mutant.name}  {noticed}")
            sys.stdout.flush()
            if not noticed:
                survivors.append(mutant)
    print(f"\nseed {asked.seed}: {len(drawn) - len(survivors)} of {len(drawn)} noticed")
    for mutant in survivors:
        print(f"\n{mutant.name}\n{mutant.diff()}")


if __name__ == "__main__":
    main()
