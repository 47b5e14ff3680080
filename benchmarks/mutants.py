"""Breaks one line at a time, and looks whether the quick tests notice.

All single mutants of the rooms that decide or keep (`ROOMS`) are made, but for words of messages and those
that change nothing (`EQUIVALENT`). Some are drawn by a seed, and for each the tests of `make quick` run in
a process of its own, those of the broken room first, up to the first that fails:

    python benchmarks/mutants.py --seed 1 --count 60
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: What is broken, as patterns in the package.
ROOMS = (
    "core/*.py",
    "optimizers/*.py",
    "earlystop/*.py",
    "store/*.py",
    "runs/driver.py",
    "runs/freeing.py",
    "config/*.py",
    "training/checkpoint.py",
    "training/report_log.py",
    "ablation/ablators.py",
    "ablation/components.py",
    "ablation/runner.py",
    "ablation/study.py",
)
#: What shall notice: pytest's arguments, one a line.
TESTS = "tests/quick.txt"
#: Where the tests of a room lie, if not in a folder of its name.
_TESTED_IN = {"optimizers": "policies", "earlystop": "policies"}
#: Mutants that change nothing that anybody could see, by name, and why.
EQUIVALENT: dict[str, str] = {
    **dict.fromkeys(
        (
            "config/load.py:_in_order.position: constant: 0 -> 1",
            "config/load.py:_in_order.position: constant: 0 -> 1 (2)",
        ),
        "it only says what comes before every place in a file, whose first is 1:1",
    ),
    **dict.fromkeys(
        (
            "config/source.py:_Reader.read: condition: mark -> True",
            "config/source.py:_Reader.read: operand: error.problem_mark or error.context_mark "
            "-> error.problem_mark",
        ),
        "every error that PyYAML raises in reading has the place of the problem; its types say "
        "that one may have none",
    ),
    **dict.fromkeys(
        (
            "store/journal.py:needs_newer: constant: 0 -> 1",
            "store/journal.py:newer: constant: 0 -> 1",
        ),
        "it stands for a version that wasn't told, and every version knows the first",
    ),
    **dict.fromkeys(
        (
            "config/options.py:_arguments: constant: False -> True",
            "config/options.py:_arguments: constant: 0 -> 1",
        ),
        "a docstring that is cleaned begins with a line without indentation, which sets both anew",
    ),
    **dict.fromkeys(
        (
            "earlystop/percentile.py:PercentileStop.on_end: leave out: "
            "self._extremes.pop(trial.trial_id, None) -> pass",
            "earlystop/percentile.py:PercentileStop.on_end: swap arguments: "
            "self._extremes.pop(trial.trial_id, None) -> self._extremes.pop(None, trial.trial_id)",
        ),
        "it only frees memory: an attempt that follows begins with its own history",
    ),
    **dict.fromkeys(
        (
            'training/report_log.py:ReportLog.append: without encoding: open(self._path, "a", '
            "encoding=\"utf-8\") -> open(self._path, 'a')",
            "training/report_log.py:ReportLog.between: without encoding: "
            'self._path.read_text(encoding="utf-8") -> self._path.read_text()',
            'store/lock.py:read_holder: without encoding: path.read_text(encoding="utf-8") '
            "-> path.read_text()",
        ),
        "it is JSON in ASCII, which every encoding has alike",
    ),
    "training/report_log.py:ReportLog.between: constant: 0 -> 1": (
        "where nothing is found, it doesn't matter between which steps"
    ),
    **dict.fromkeys(
        (
            "config/schema.py:_Named: constant: True -> False (2)",
            'config/schema.py:_Named: without strict: ConfigDict(extra="allow", frozen=True, '
            "strict=True) -> ConfigDict(extra='allow', frozen=True)",
        ),
        "only a name has a type there, and of JSON no text is made that isn't one",
    ),
    "config/schema.py:_Named.options: operand: self.model_extra or {} -> self.model_extra": (
        "a model that allows other keys has a dict of them; its type says that it may be None"
    ),
    'config/validation.py:_known_keys: operand: part in DOMAINS and loc[:2] == ("search", "space") '
    "-> part in DOMAINS": "outside the space nothing that is checked lies below a key of a domain's name",
    "config/validation.py:is_echo: constant: 1 -> 0": (
        "a short form has two parts or is refused as a whole, by the path of its parameter"
    ),
    'ablation/components.py:LayerGroup.layers_in: operand: self.pattern or "" -> self.pattern': (
        "no pattern is no pattern; only the type of the argument asks for a text"
    ),
    "core/book.py:TrialBook._move: leave out: return -> pass": (
        "it only saves time: the counts of one state go down and up, and no slot changes hands"
    ),
}
COPIED = ("dotrain", "tests", "configs", "docs", "recipes", "README.md", "pyproject.toml")
_WAIT_S = 300.0  #: The longest that one mutant's tests may take, in seconds.

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
#: Keywords whose values are words for people.
_WORDS = {"description", "reason", "title", "repr"}


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
        after = text[1:-1] if text.startswith("(") else text
        if after == before:
            return
        name = f"{self.file}:{'.'.join(self.scope)}: {what}: {before[:70]} -> {after[:70]}"
        count = self.names[name] = self.names.get(name, 0) + 1
        name = name if count == 1 else f"{name} ({count})"
        self.found.append(Mutant(self.file, self.function, start, end, text, name))

    def swap(self, node: ast.expr, new: ast.expr, what: str) -> None:
        self.add(node, f"({ast.unparse(ast.fix_missing_locations(new))})", what)

    def default(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            self.add(node, repr(node.value[:-1]), "default")
        self.visit(node)

    # Scopes.

    def visit_Module(self, node: ast.Module) -> None:
        self._body(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in ("validate", "__repr__"):
            return  # checks of our own, and what only debuggers see
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.default(default)
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
        elif not (isinstance(node.value, ast.Constant) and not node.value.value):
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
        if not (_is_text(node.body) and _is_text(node.orelse)):
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
        is_text = _is_text(node.left) or _is_text(node.right)
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
        elif isinstance(value, float):
            self.add(node, str(value + 1.0), "constant")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            self.add(node.func, _CALLS[node.func.id], "call")
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in _WORDS:
                rest = [k for k in node.keywords if k is not keyword]
                self.swap(node, ast.Call(node.func, node.args, rest), f"without {keyword.arg}")
        if len(node.args) > 1 and ast.unparse(node.func) not in _CALLS:
            swapped = [node.args[1], node.args[0], *node.args[2:]]
            if not any(isinstance(argument, ast.Starred) for argument in swapped[:2]):
                self.swap(node, ast.Call(node.func, swapped, node.keywords), "swap arguments")
        self.visit(node.func)
        for part in node.args:
            self.visit(part)
        for keyword in node.keywords:
            if keyword.arg == "default":
                self.default(keyword.value)
            elif keyword.arg not in _WORDS:
                self.visit(keyword.value)


def _is_text(node: ast.expr) -> bool:
    """Whether it is a word for people, or several."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


class Bench:
    """A copy of the project in which one module after the other is broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, folder / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder / name)

    def test(self, room: str = "") -> str:
        """Return the first test that fails, or ``""``.

        Args:
            room: What is broken: its tests come first; ``""`` if nothing is.

        Raises:
            SystemExit: If the tests could not run, which proves nothing.
        """
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        first = f"tests/{_TESTED_IN.get(room, room)}"
        tests = sorted(
            (self.folder / TESTS).read_text().split(), key=lambda test: not test.startswith(first)
        )
        command = [sys.executable, "-B", "-m", "pytest", *options, "-m", "not slow", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        try:
            ran = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_WAIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "(out of time)"
        if ran.returncode == 0:
            return ""
        told = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if not told and room:  # they could before
            return "(the tests can't be imported)"
        if not told:
            raise SystemExit(f"the tests could not run:\n{ran.stdout}{ran.stderr}")
        return told[0]

    def notice(self, mutant: Mutant) -> str:
        """Return which test notices a mutant, or ``""``."""
        file = self.folder / "dotrain" / mutant.file
        sound = file.read_bytes()
        file.write_bytes(mutant.apply(sound))
        try:
            return self.test(mutant.file.split("/")[0])
        finally:
            file.write_bytes(sound)


def all_mutants(pattern: str = "") -> Iterator[Mutant]:
    """Yield every mutant of every room with this in its name, but for the equivalent ones."""
    package = ROOT / "dotrain"
    for room in ROOMS:
        for file in sorted(package.glob(room)):
            for mutant in mutants_of(str(file.relative_to(package))):
                if pattern in mutant.name and mutant.name not in EQUIVALENT:
                    yield mutant


def main() -> None:
    """Draw, break, and say what was noticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--count", type=int, default=20, help="how many are drawn")
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
        failed = bench.test()
        if failed:
            raise SystemExit(f"the tests fail unbroken: {failed}")
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
