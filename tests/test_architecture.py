"""The shape of the code, checked on the syntax tree of every module: who may import whom, what is never called, sizes.

`python tests/test_architecture.py` prints the size table. Each rule is a function from a module to complaints; the
second half of the file shows each of them a piece of code that it must refuse.
"""
from __future__ import annotations

import ast
import statistics
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Set, Tuple, Union

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("core", "runtime", "web")

CORE_STDLIB = {"__future__", "base64", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "enum",
               "functools", "html", "ipaddress", "itertools", "json", "math", "re", "shlex", "typing", "urllib.parse",
               "zlib"}
# What a layer may import of ours; a module at the top of the package stands for itself.
MAY_IMPORT = {"core": {"core"}, "runtime": {"core", "runtime", "__init__"},
              "web": {"core", "runtime", "web", "__init__"}, "control": {"core", "runtime", "web", "__init__"},
              "program": {"core", "runtime", "web", "control", "__init__"},
              "cli": {"core", "runtime", "demo", "program", "__init__"}, "__main__": {"cli"}, "__init__": set(),
              # The fake model server shares no code with us, so that it cannot share our bugs.
              "demo": {"demo_answers"}, "demo_answers": {"demo"}}
# A third party is known to one module, so that changing it changes one module.
FENCES = {"yaml": "runtime/files.py", "pynvml": "runtime/nvml.py", "prometheus_client": "runtime/metrics.py",
          "waitress": "web/wsgi.py"}
# web speaks requests and responses; these would make it touch a socket, a process, a thread or a lock.
WEB_NEVER = {"_thread", "multiprocessing", "queue", "select", "selectors", "signal", "socket", "socketserver",
             "sqlite3", "ssl", "subprocess", "threading"}
# What web calls in runtime instead of being handed it.
WEB_CALLS = {"llamaswap.runtime.relay": "step 6 of a request: moves bytes between the two objects it is given",
             "llamaswap.runtime.threads": "spawn() for waitress in wsgi, once() for what many ask for at the same time"}
# Imports inside functions: hardware that may be absent, and sub-commands whose price only their users should pay.
LATE_IMPORTS = {"runtime/nvml.py": {"ctypes", "pynvml"}, "cli.py": None,
                "control.py": {"llamaswap.runtime.metrics"}}
WALL_CLOCK = {"runtime/store.py": "rows carry the time people see", "runtime/logs.py": "lines do too",
              "runtime/inflight.py": "a request is shown with the time at which it came",
              "runtime/histories.py": "failures are shown with the time at which they happened",
              "runtime/monitor.py": "samples are shown with the time at which they were taken",
              "web/replies.py": "clients are told when a thing was created",
              "web/feed.py": "followers set their clocks by it",
              "web/models.py": "instants of the scheduler are shown as times",
              "program.py": "it is shown when the files were read"}
# Function → why nothing narrower will do: whatever goes wrong there, the loop must live on and the log must know.
BROAD_EXCEPT = {
    "runtime/threads.py:guarded": "the rule for every thread: log what escaped and, if vital, begin the shutdown",
    "runtime/connection.py:run": "connection thread: a defect costs this client its connection and nobody else",
    "runtime/connection.py:_answer": "connection thread: a defect in a handler is answered with 500",
    "web/wsgi.py:_answered": "the same for whoever serves the control plane on its own address",
    "runtime/recorder.py:_record_waiting": "store writer: one odd request must not end the record of all others",
    "runtime/recorder.py:_record_and_answer": "store writer: what a question raises belongs to whoever asked",
    "runtime/gpus.py:_answer_of": "a driver's library may raise anything; the GPUs of other vendors can do without it",
    "runtime/registry.py:_run_timer": "timer loop: one broken effect must not take the others' stops with it",
}
THREADS = {"runtime/threads.py": "spawn() lives here"}
MAX_FUNCTION, MAX_MODULE, MEDIAN_FUNCTION, P90_FUNCTION = 60, 600, 10, 35

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


class Module(NamedTuple):
    name: str           # path below llamaswap/, with slashes
    source: str

    @property
    def layer(self) -> str:
        """core, runtime or web; for a module at the top of the package its own name."""
        return self.name.split("/")[0].replace(".py", "")

    @property
    def dotted(self) -> str:
        return "llamaswap." + self.name[:-3].replace("/", ".")

    @property
    def tree(self) -> ast.Module:
        return parse(self.source, self.name)


@cache
def parse(source: str, name: str) -> ast.Module:
    return ast.parse(source, name)


class Import(NamedTuple):
    line: int
    target: str         # dotted, absolute
    names: Tuple[str, ...]
    where: str          # "module", "function" or "typing" (under `if TYPE_CHECKING`)

    @property
    def ours(self) -> str:
        """Layer or top module it points to, or "" when it is not ours."""
        parts = self.target.split(".")
        if parts[0] != "llamaswap":
            return ""
        return parts[1] if len(parts) > 1 else "__init__"


@cache
def modules() -> List[Module]:
    package = ROOT / "llamaswap"
    return [Module(path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"))
            for path in sorted(package.rglob("*.py"))]


def imports(module: Module) -> Iterator[Import]:
    yield from imports_below(module, module.tree, "module")


def imports_below(module: Module, node: ast.AST, where: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(child.lineno, alias.name, (), where)
        elif isinstance(child, ast.ImportFrom):
            names = tuple(alias.name for alias in child.names)
            base = absolute(module, child)
            if base in ("llamaswap", *(f"llamaswap.{layer}" for layer in LAYERS)):
                yield from (Import(child.lineno, f"{base}.{name}" if name != "__version__" else base, (), where)
                            for name in names)
            else:
                yield Import(child.lineno, base, names, where)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports_below(module, child, "function")
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from imports_below(module, child, "typing")
        else:
            yield from imports_below(module, child, where)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parents = module.dotted.split(".")[:-node.level]
    return ".".join(parents + ([node.module] if node.module else []))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


@cache
def stdlib_names() -> Set[str]:
    if sys.version_info >= (3, 10):
        return set(sys.stdlib_module_names)
    directory = Path(sysconfig.get_paths()["stdlib"])
    files = [*directory.iterdir(), *directory.glob("lib-dynload/*.so")]
    return set(sys.builtin_module_names) | {path.name.split(".")[0] for path in files}


# --- the rules: module → complaints -----------------------------------------------------------------------------


def layer_rule(module: Module) -> Iterator[str]:
    allowed = MAY_IMPORT.get(module.layer)
    if allowed is None:
        yield f"1: {module.name} is in no layer this test knows"
        return
    for found in imports(module):
        if found.ours and found.ours not in allowed:
            yield f"{found.line}: {module.layer} may not import {found.target}"
        if found.target == "llamaswap.runtime.registry" and module.layer not in ("program", "control", "web"):
            yield f"{found.line}: only program and control, and web for its Protocol, may import runtime.registry"


def core_rule(module: Module) -> Iterator[str]:
    if module.layer == "core":
        for found in imports(module):
            if not found.ours and found.target not in CORE_STDLIB:
                yield f"{found.line}: core may not import {found.target}: it has no I/O, threads, clock or logging"


def web_rule(module: Module) -> Iterator[str]:
    """Collaborators come as constructor arguments, so all that web takes from runtime is names for annotations."""
    if module.layer != "web":
        return
    taken: Set[str] = set()
    for found in imports(module):
        if found.target.split(".")[0] in WEB_NEVER and found.where != "typing":
            yield f"{found.line}: web may not import {found.target}"
        if found.ours == "runtime" and found.where != "typing" and found.target not in WEB_CALLS:
            taken.update(found.names)
            if not found.names or not all(name[:1].isupper() for name in found.names):
                yield f"{found.line}: web may import only types from runtime, not {found.names or found.target}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in taken:
            yield f"{node.lineno}: {node.func.id}() belongs to runtime: take it as a constructor argument"


def import_style_rule(module: Module) -> Iterator[str]:
    for found in imports(module):
        if "*" in found.names or found.target.endswith(".*"):
            yield f"{found.line}: import * from {found.target}"
        late = LATE_IMPORTS.get(module.name, set())
        if found.where == "function" and late is not None and found.target not in late:
            yield f"{found.line}: {found.target} is imported inside a function"


def fence_rule(module: Module) -> Iterator[str]:
    for found in imports(module):
        top = found.target.split(".")[0]
        if top in FENCES and module.name != FENCES[top]:
            yield f"{found.line}: {top} may be imported by {FENCES[top]} only"
        elif top not in FENCES and top != "llamaswap" and top not in stdlib_names() | {"__future__"}:
            yield f"{found.line}: {top} is neither ours, nor the standard library's, nor a dependency"


def name_rule(module: Module) -> Iterator[str]:
    """`python llamaswap/` puts the package directory itself at sys.path[0]: a logging.py there would be imported."""
    for part in module.name[:-3].split("/"):
        if part in stdlib_names():
            yield f"1: {part} is the name of a standard module"


def call_rule(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "sendall":
            yield f"{node.lineno}: sendall: its timeout is for the whole of it; loop over send"
        elif isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield f"{node.value.lineno}: preexec_fn runs Python in a copied lock world; use start_new_session"
        elif is_member(node, "os", "fork") or is_member(node, "os", "forkpty"):
            yield f"{node.lineno}: os.fork copies locks that other threads hold"
        elif is_member(node, "time", "time") and module.name not in WALL_CLOCK:
            yield f"{node.lineno}: time.time can jump; use time.monotonic"
        elif is_member(node, "threading", "Thread") and module.name not in THREADS and is_called(module, node):
            yield f"{node.lineno}: threading.Thread: a thread that dies must be heard of; use runtime.threads.spawn"
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "os", "threading"):
            banned = {"time", "fork", "Thread"} & {alias.name for alias in node.names}
            if banned and module.name not in THREADS:
                yield f"{node.lineno}: write {node.module}.{min(banned)} out, so that this test sees its calls"


def is_member(node: ast.AST, owner: str, name: str) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == name
            and isinstance(node.value, ast.Name) and node.value.id == owner)


def is_called(module: Module, attribute: ast.AST) -> bool:
    """Naming threading.Thread in an annotation is fine; calling it is not."""
    return any(isinstance(node, ast.Call) and (node.func.lineno, node.func.col_offset)
               == (attribute.lineno, attribute.col_offset) for node in ast.walk(module.tree))


def broad_except_rule(module: Module) -> Iterator[str]:
    for function, handler in handlers(module.tree, "module"):
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = [node.id if isinstance(node, ast.Name) else "" for node in caught if node is not None] or ["(bare)"]
        broad = {"Exception", "BaseException", "(bare)"} & set(names)
        last = handler.body[-1]
        if isinstance(last, ast.Raise) and last.exc is None:
            continue    # cleans up and lets it pass
        if broad and f"{module.name}:{function}" not in BROAD_EXCEPT:
            yield f"{handler.lineno}: except {min(broad)} in {function}(): say which errors, or why in BROAD_EXCEPT"


def handlers(node: ast.AST, function: str) -> Iterator[Tuple[str, ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield function, child
        inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        yield from handlers(child, inner)


def size_rule(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > MAX_MODULE:
        yield f"1: {lines} lines; a module has at most {MAX_MODULE}"
    for function in functions(module.tree):
        if length(function) > MAX_FUNCTION:
            yield f"{function.lineno}: {function.name}() has {length(function)} lines; at most {MAX_FUNCTION}"


def twin_rule(module: Module) -> Iterator[str]:
    if module.layer in LAYERS and not module.name.endswith("__init__.py"):
        path = Path("tests", module.name)
        twin = path.with_name("test_" + path.name)
        if not (ROOT / twin).exists():
            yield f"1: {twin} is missing"


RULES: List[Callable[[Module], Iterator[str]]] = [
    layer_rule, core_rule, web_rule, import_style_rule, fence_rule, name_rule, call_rule, broad_except_rule, size_rule,
    twin_rule,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_obeys(rule):
    complaints = [f"llamaswap/{module.name}:{text}" for module in modules() for text in rule(module)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_no_module_level_cycle():
    graph = {module.dotted: {found.target for found in imports(module) if found.where == "module"}
             for module in modules()}
    assert find_cycle(graph) == []


def find_cycle(graph: Dict[str, Set[str]]) -> List[str]:
    """Names along a cycle, or [] when there is none."""
    done: Set[str] = set()

    def follow(name: str, path: List[str]) -> List[str]:
        if name in path:
            return [*path[path.index(name):], name]
        if name in done or name not in graph:
            return []
        for target in sorted(graph[name]):
            cycle = follow(target, [*path, name])
            if cycle:
                return cycle
        done.add(name)
        return []

    return next(filter(None, (follow(name, []) for name in sorted(graph))), [])


def test_sizes():
    lengths = [length(function) for module in modules() for function in functions(module.tree)]
    print(size_table())
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert percentile(lengths, 0.9) <= P90_FUNCTION


def size_table() -> str:
    rows = [f"{'module':30} {'lines':>6} {'comments/100':>13} {'functions':>10} {'median':>7} {'p90':>5} {'max':>5}"]
    total: List[int] = []
    for module in modules():
        lines = module.source.splitlines()
        sizes = [length(function) for function in functions(module.tree)]
        total += sizes
        rows.append(size_row(module.name, len(lines), sum("#" in line for line in lines), sizes))
    every = [line for module in modules() for line in module.source.splitlines()]
    rows.append(size_row("all", len(every), sum("#" in line for line in every), total))
    return "\n".join(rows)


def size_row(name: str, lines: int, comments: int, sizes: List[int]) -> str:
    median, p90, largest = (statistics.median(sizes), percentile(sizes, 0.9), max(sizes)) if sizes else (0, 0, 0)
    share = 100 * comments / max(1, lines)
    return f"{name:30} {lines:6} {share:13.1f} {len(sizes):10} {median:7.1f} {p90:5} {largest:5}"


def percentile(values: List[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


# --- the rules are awake: each refuses what it is there to refuse -------------------------------------------------

LONG = "def f():\n" + "    pass\n" * MAX_FUNCTION
REFUSED = [
    (layer_rule, "core/x.py", "from llamaswap.runtime import store"),
    (layer_rule, "core/x.py", "from ..web import app"),
    (layer_rule, "runtime/x.py", "import llamaswap.web.app"),
    (layer_rule, "runtime/x.py", "from llamaswap.runtime.registry import Registry"),
    (layer_rule, "runtime/x.py", "from . import registry"),
    (layer_rule, "web/x.py", "from llamaswap import cli"),
    (layer_rule, "demo.py", "from llamaswap.core import usage"),
    (layer_rule, "helper.py", "x = 1"),
    (core_rule, "core/x.py", "import time"),
    (core_rule, "core/x.py", "from urllib import request"),
    (core_rule, "core/x.py", "def f():\n    import os"),
    (web_rule, "web/x.py", "import socket"),
    (web_rule, "web/x.py", "from llamaswap.runtime.logs import open_ring"),
    (web_rule, "web/x.py", "from llamaswap.runtime import logs"),
    (web_rule, "web/x.py", "from llamaswap.runtime.logs import LogRing\nring = LogRing()"),
    (import_style_rule, "core/x.py", "from llamaswap.core.config import *"),
    (import_style_rule, "core/x.py", "from llamaswap.core import *"),
    (import_style_rule, "core/x.py", "class A:\n    def f(self):\n        import re"),
    (import_style_rule, "runtime/monitor.py", "def f():\n    import yaml"),
    (fence_rule, "core/x.py", "import yaml"),
    (fence_rule, "runtime/x.py", "from prometheus_client.core import Metric"),
    (fence_rule, "runtime/x.py", "import requests"),
    (name_rule, "runtime/logging.py", ""),
    (name_rule, "queue.py", ""),
    (call_rule, "runtime/x.py", "sock.sendall(b'')"),
    (call_rule, "runtime/x.py", "Popen([], preexec_fn=f)"),
    (call_rule, "runtime/x.py", "os.fork()"),
    (call_rule, "runtime/x.py", "field(default_factory=time.time)"),
    (call_rule, "runtime/x.py", "threading.Thread(target=f)"),
    (call_rule, "runtime/x.py", "from time import time"),
    (broad_except_rule, "runtime/x.py", "def f():\n    try:\n        g()\n    except Exception:\n        pass"),
    (broad_except_rule, "runtime/x.py", "try:\n    g()\nexcept:\n    pass"),
    (broad_except_rule, "runtime/x.py", "try:\n    g()\nexcept (OSError, BaseException):\n    pass"),
    (size_rule, "core/x.py", LONG),
    (size_rule, "core/x.py", "x = 1\n" * (MAX_MODULE + 1)),
    (twin_rule, "core/no_such_module.py", ""),
]
ACCEPTED = [
    (layer_rule, "web/x.py", "from llamaswap.runtime.registry import Registry"),
    (layer_rule, "cli.py", "from llamaswap import __version__, demo, program"),
    (layer_rule, "program.py", "from llamaswap.web import app\nfrom llamaswap.runtime import registry"),
    (core_rule, "core/x.py", "from urllib.parse import quote\nfrom llamaswap.core.config import Model"),
    (web_rule, "web/x.py", "from llamaswap.runtime import relay\nrelay.respond()"),
    (web_rule, "web/x.py", "from llamaswap.runtime.logs import LogRing\ndef f(ring: LogRing): ring.follow()"),
    (import_style_rule, "cli.py", "def f():\n    import cProfile"),
    (import_style_rule, "runtime/nvml.py", "def f():\n    import pynvml"),
    (call_rule, "runtime/store.py", "time.time()"),
    (call_rule, "runtime/x.py", "def f() -> threading.Thread: return spawn('x', g)"),
    (broad_except_rule, "runtime/x.py", "try:\n    g()\nexcept (OSError, ValueError):\n    pass"),
    (broad_except_rule, "runtime/x.py", "try:\n    g()\nexcept BaseException:\n    close()\n    raise"),
    (size_rule, "core/x.py", LONG.replace("    pass\n", "", 1)),
]


@pytest.mark.parametrize("rule, name, source", REFUSED)
def test_rule_refuses(rule, name, source):
    assert list(rule(Module(name, source)))


@pytest.mark.parametrize("rule, name, source", ACCEPTED)
def test_rule_accepts(rule, name, source):
    assert list(rule(Module(name, source))) == []


def test_a_cycle_is_found():
    assert find_cycle({"a": {"b"}, "b": {"c", "json"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_reason_for_a_broad_except_is_still_needed():
    found = {f"{module.name}:{function}" for module in modules() for function, _ in handlers(module.tree, "module")}
    assert set(BROAD_EXCEPT) <= found


def test_scripts_do_not_hide_standard_modules():
    """`python tools/x.py` puts tools/ at sys.path[0]."""
    assert {path.stem for path in (ROOT / "tools").glob("*.py")} & stdlib_names() == set()


if __name__ == "__main__":
    print(size_table())
