"""Functions that leave nothing as they found it; the next trial on the same slot finds all as it was."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any

import psutil
import pytest

from tests.attempts.processes import MARK, processes_of
from tests.conftest import Project
from tests.late import needs_keras, needs_torch

#: What a healthy trial finds, compared with what the first one found, before anything had been done.
SNAPSHOT = {
    "environment": "dict(os.environ)",
    "path": "sys.path",
    "modules": "sorted(sys.modules)",
    "builtins": "sorted(dir(builtins))",
    "module's globals": "sorted(globals())",
    "logging": "[type(h).__name__ for h in logging.getLogger().handlers] + [logging.root.level]",
    "threads": "len(os.listdir('/proc/self/task'))",
    "descriptors": "sorted(kind_of(n) for n in os.listdir('/proc/self/fd'))",
    "streams": "[sys.stdout is sys.__stdout__, sys.stdin.fileno(), sys.stdout.fileno()]",
    "children": "open(f'/proc/self/task/{os.getpid()}/children').read()",
    "folder": "os.getcwd()",
    "signals": "{n: getattr(h := signal.getsignal(n), '__qualname__', str(h)) for n in sorted(signal.valid_signals())}",
    "mask of signals": "sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "alarm": "signal.alarm(0)",
    "umask": "(os.umask(0o22), os.umask(0o22))",
    "limits": "[resource.getrlimit(n) for n in range(16)]",
    "niceness": "os.nice(0)",
    "Python's generator": "random.random() == random.Random(seed).random()",
    "NumPy's generator": "numpy.random.rand() == numpy.random.RandomState(seed).rand()",
    "NumPy's settings": "[numpy.geterr(), numpy.get_printoptions()['precision']]",
    "recursion": "sys.getrecursionlimit()",
    "switching": "sys.getswitchinterval()",
    "garbage": "[gc.isenabled(), gc.get_threshold()]",
    "hooks": "[str(sys.gettrace()), str(sys.getprofile()), sys.excepthook is sys.__excepthook__]",
    "warnings": "[str(f) for f in warnings.filters]",
    "locale": "locale.setlocale(locale.LC_ALL)",
    "decimals": "decimal.getcontext().prec",
}

SCRIBBLE = """
for n in range(3, 1024):
    try:
        os.write(n, random.randbytes(100))
    except OSError:
        pass
"""

FUNCTIONS: dict[str, dict[str, str]] = {
    "leaks": {
        "environment": "os.environ['OMP_NUM_THREADS'] = '9'; os.environ.pop('PATH')",
        "modules": "sys.path.insert(0, '/'); sys.modules['json'] = None; import colorsys",
        "logging": "logging.basicConfig(filename=trial_dir / 'log', level=1, force=True)",
        "globals": "builtins.open_it = open; globals()['leaked'] = bytearray(10**7)",
        "descriptors": "globals()['kept'] = [os.dup(1) for _ in range(1000)]",
    },
    "stops and hangs": {
        "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
        "waits": "threading.Event().wait()",
        "holds the interpreter": "import re; re.match('(a+)+b', 'a' * 60)",
        "deaf": "[signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; signal.pause()",
        "in a thread": "threading.Thread(target=threading.Event().wait).start()",
    },
    "exits and signals": {
        "exit code": "os._exit(3)",
        "system exit": "sys.exit(4)",
        "segmentation fault": "os.kill(os.getpid(), signal.SIGSEGV)",
        "abort": "os.abort()",
        "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    },
    "memory": {
        "held": "globals()['held'] = bytearray(b'x') * 150_000_000",
        "too much": "held = bytearray(b'x') * 400_000_000; signal.pause()",
        "shared": "import mmap; m = mmap.mmap(-1, 10**8); m.write(b'x' * 10**8); globals()['m'] = m",
        "of a child": "if not os.fork(): held = bytearray(b'x') * 400_000_000; signal.pause()\nsignal.pause()",
        "stack": "sys.setrecursionlimit(10**9); deep = lambda: deep() + 1; deep()",
    },
    "descriptors and output": {
        "closed": "os.closerange(3, 4096)",
        "streams closed": "os.close(0); os.close(1); os.close(2)",
        "no streams": "sys.stdout = sys.stderr = sys.__stdout__ = None",
        "led elsewhere": "os.dup2(os.open(os.devnull, 2), 1); os.dup2(1, 2)",
        "written to": SCRIBBLE,
        "endless line": "sys.stdout.write('x' * 5_000_000)",
    },
    "folders and files": {
        "gone": "os.mkdir('/tmp/' + token); os.chdir('/tmp/' + token); os.rmdir('/tmp/' + token)",
        "own folder": "shutil.rmtree(trial_dir)",
        "umask": "os.umask(0o777)",
        "log": "(trial_dir / 'output.log').unlink(); (trial_dir / 'output.log').mkdir()",
        "root": "os.chdir('/')",
    },
    "children": {
        "left": "subprocess.Popen(['sleep', '1000'])",
        "daemon": "if not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    signal.pause()",
        "many": "for _ in range(20):\n    if not os.fork(): signal.pause()",
        "pool": "import multiprocessing; globals()['pool'] = multiprocessing.Pool(2)",
        "came back": "os.fork()",
        "keeper stopped": "os.kill(os.getppid(), signal.SIGSTOP)",
        "keeper stopped, waits": "os.kill(os.getppid(), signal.SIGSTOP); signal.pause()",
    },
    "threads and locks": {
        "busy": "[threading.Thread(target=spin, daemon=True).start() for _ in range(4)]",
        "logging's lock": "logging._acquireLock() if hasattr(logging, '_acquireLock') else None",
        "signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "timer": "threading.Timer(1000, print).start()",
        "fork in a thread": "t = threading.Thread(target=os.fork); t.start(); t.join()",
    },
    "interpreter settings": {
        "recursion": "sys.setrecursionlimit(200); sys.setswitchinterval(5)",
        "garbage": "gc.disable(); gc.set_threshold(1)",
        "hooks": "sys.excepthook = print; sys.setprofile(lambda *a: None)",
        "warnings": "warnings.simplefilter('error'); numpy.seterr(all='raise'); numpy.random.seed(1)",
        "locale": "locale.setlocale(locale.LC_ALL, 'C.UTF-8'); decimal.getcontext().prec = 3",
    },
    "limits of the system": {
        "files": "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))",
        "size": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); print('x' * 9999)",
        "time": "resource.setrlimit(resource.RLIMIT_CPU, (1, 1)); spin()",
        "memory": "resource.setrlimit(resource.RLIMIT_AS, (1, 1)); bytearray(10**8)",
        "niceness": "os.nice(5)",
    },
}

HEAD = """
import builtins, decimal, gc, json, locale, logging, os, random, resource, shutil, signal
import subprocess, sys, threading, warnings
import numpy

def spin():
    while True:
        pass

def kind_of(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}").split(":")[0].split("/")[1:2]
    except OSError:  # that of the folder that was listed
        return []

def healthy(trial_dir, seed):
    found = {SNAPSHOT}
    (trial_dir / "found.json").write_text(json.dumps(found))

def train(what, trial_dir, seed):
    token = str(trial_dir).replace("/", "_")
    if what.startswith("healthy"):
        healthy(trial_dir, seed)
"""


def source(functions: dict[str, str], snapshot: dict[str, str], imports: str = "") -> str:
    table = ", ".join(f"{name!r}: {code}" for name, code in snapshot.items())
    code = imports + HEAD.replace("{SNAPSHOT}", "{" + table + "}")
    for name, body in functions.items():
        code += f"    if what == {name!r}:\n{textwrap.indent(body, ' ' * 8)}\n"
    return code + "    return 1\n"


def run(
    project: Project, functions: dict[str, str], snapshot: dict[str, str], **options: Any
) -> dict[str, dict[str, Any]]:
    """Run hostile functions in turn with a healthy one; return what that found after each."""
    what = ["healthy first"]
    for name in functions:
        what += [name, f"healthy after {name}"]
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, str(project.path))
        result = project.run(
            search={
                "space": {"what": {"type": "categorical", "values": what}},
                "optimizer": {"name": "grid"},
            },
            cluster={"kind": "local", "workers": 1},
            limits={"retries": 0, "max_failures": 100, **options},
        )
    assert result.status == "finished"
    assert set(psutil.Process().children(recursive=True)) <= before
    assert processes_of(project.path) == []
    found = {}
    for trial in result.trials:
        name = str(trial.params["what"])
        if name.startswith("healthy"):
            assert trial.final_metric == 1, (name, trial.story)
            text = (result.run_dir / "trials" / trial.trial_id / "found.json").read_text()
            found[name.removeprefix("healthy after ")] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def found_by_kind(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], dict[str, dict[str, Any]]]:
    """What healthy trials found after each function of a kind, run once each."""

    @cache
    def found(kind: str, method: str) -> dict[str, dict[str, Any]]:
        project = Project(tmp_path_factory.mktemp("hostile"))
        project.write("user.py", source(FUNCTIONS[kind], SNAPSHOT))
        options = {"trial_timeout_s": 3.0, "trial_memory_mb": 300}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOTRAIN_START_METHOD", method)
            return run(project, FUNCTIONS[kind], SNAPSHOT, **options)

    return found


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in FUNCTIONS for name in FUNCTIONS[kind]]
)
def test_a_healthy_trial_finds_all_as_it_was(
    found_by_kind: Callable[[str, str], dict[str, dict[str, Any]]], kind: str, name: str
) -> None:
    found = found_by_kind(kind, "fork")
    assert found[name] == found["healthy first"]


#: What might reach an interpreter that is started for the next attempt.
FAR_REACHING = [
    *("stops and hangs", "exits and signals", "memory", "descriptors and output"),
    *("children", "limits of the system"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAR_REACHING)
def test_it_does_without_a_fork_too(
    found_by_kind: Callable[[str, str], dict[str, dict[str, Any]]], kind: str
) -> None:
    found = found_by_kind(kind, "spawn")
    assert found == dict.fromkeys(found, found["healthy first"])


def test_the_snapshot_would_notice(project: Project) -> None:
    """Within one process each of these changes something of it."""
    seen = set()
    for functions in (FUNCTIONS["leaks"], FUNCTIONS["interpreter settings"]):
        body = "\n".join(code for name, code in functions.items() if name != "modules")
        code = source({}, SNAPSHOT).replace(
            "        healthy(trial_dir, seed)\n",
            "        healthy(trial_dir, seed)\n"
            "        first = (trial_dir / 'found.json').read_text()\n"
            + textwrap.indent(body, " " * 8)
            + "\n        sys.setprofile(None); warnings.simplefilter('ignore')\n"
            "        healthy(trial_dir, seed)\n"
            "        (trial_dir / 'first.json').write_text(first)\n",
        )
        project.write("user.py", code)
        result = project.run(hparams={"what": "healthy"}, cluster={"kind": "local", "workers": 1})
        folder = result.run_dir / "trials" / "t0000"
        first, last = (json.loads((folder / f"{n}.json").read_text()) for n in ("first", "found"))
        seen |= {name for name in SNAPSHOT if first[name] != last[name]}
    assert {"environment", "logging", "descriptors", "recursion", "garbage", "decimals"} <= seen


SETTINGS = {
    "import torch\n": (
        {
            "type": "str(torch.get_default_dtype())",
            "threads": "torch.get_num_threads()",
            "gradients": "torch.is_grad_enabled()",
            "generator": "torch.initial_seed() == seed",
        },
        {
            "type": "torch.set_default_dtype(torch.float64)",
            "threads": "torch.set_num_threads(3); torch.rand(999, 999).matmul(torch.rand(999, 999))",
            "gradients": "torch.set_grad_enabled(False); torch.manual_seed(12)",
        },
    ),
    "import keras\nimport tensorflow as tf\n": (
        {
            "eager": "tf.config.functions_run_eagerly()",
            "jit": "str(tf.config.optimizer.get_jit())",
            "float": "keras.backend.floatx()",
        },
        {
            "eager": "tf.config.run_functions_eagerly(True)",
            "jit": "tf.config.optimizer.set_jit(True)",
            "float": "keras.backend.set_floatx('float64')",
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        pytest.param(one, marks=needs)
        for one, needs in zip(SETTINGS, (needs_torch, needs_keras), strict=True)
    ],
    ids=["torch", "tensorflow"],
)
def test_settings_of_a_framework_are_the_next_trials_own(project: Project, imports: str) -> None:
    snapshot, functions = SETTINGS[imports]
    project.write("user.py", source(functions, snapshot, imports))
    found = run(project, functions, snapshot)
    assert found == dict.fromkeys(found, found["healthy first"])
