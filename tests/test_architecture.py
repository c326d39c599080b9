"""Who may import what, where drafts may be told apart, and what no file may name.

Imports point downwards: interop_tests and the pytest half over client/, client/ over protocol/. The
embedded relay shares the codec with the client and nothing else, so that the two can be wrong apart.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pytest_moqt

ROOT = Path(__file__).parents[1]
STDLIB = frozenset(sys.stdlib_module_names)
NO_IO = STDLIB - {"asyncio", "socket", "ssl", "time", "logging", "os", "threading", "subprocess", "selectors"}

PROTOCOL = "pytest_moqt.protocol"
CODEC = {
    f"{PROTOCOL}.{name}"
    for name in (
        *("answers", "buffer", "drafts", "errors", "fields", "framing", "layouts", "messages", "notation"),
        *("objects", "parameter_layouts", "parameters", "record", "registries", "sections", "spans"),
        *("transport", "updates", "values", "varint", "webtransport"),
    )
} | {PROTOCOL}
"All of protocol/ but what makes a session: session, topology, events."
PUBLIC = "pytest_moqt"

_LIGHT = frozenset(
    {f"pytest_moqt.{name}" for name in ("cli", "catalog", "options", "selection", "listing", "expectations")}
)
"What the command imports before it knows that there will be a run."

_LIGHT_ENDPOINT = frozenset({f"quic_interop.{name}" for name in ("cases", "errors", "settings")})
"The same for the QUIC endpoint, which answers a name that it does not know at once."


@dataclass(frozen=True)
class Rule:
    """What the modules that a pattern names may import."""

    files: str
    "Glob from the root of the checkout."
    allowed: frozenset[str]
    "Modules, with all that is below them; those of `exact` alone."
    exact: frozenset[str] = frozenset()
    module_level: bool = False
    "Only what is imported at import time counts."

    def allows(self, module: str) -> bool:
        """Whether an import of this module keeps the rule."""
        parts = module.split(".")
        above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return bool(above & self.allowed) or module in self.exact


RULES = [
    Rule("pytest_moqt/protocol/*.py", NO_IO | {PROTOCOL}),
    Rule("pytest_moqt/client/*.py", STDLIB | {PROTOCOL, "pytest_moqt.client", "aioquic", "cryptography"}),
    Rule(
        "pytest_moqt/relay/**/*.py",
        STDLIB | {"pytest_moqt.relay", "aioquic", "cryptography"},
        exact=frozenset(CODEC | {PUBLIC}),  # of the package itself only its version
    ),
    Rule("pytest_moqt/tap.py", STDLIB | {"yaml"}),
    Rule(
        "pytest_moqt/lint/*.py", STDLIB | {"yaml", "pytest_moqt.lint"}, exact=frozenset({"pytest_moqt.tap"})
    ),
    Rule(  # PyYAML only where there is a YAML block
        "pytest_moqt/lint/*.py",
        STDLIB | {"pytest_moqt.lint"},
        exact=frozenset({"pytest_moqt.tap"}),
        module_level=True,
    ),
    *(
        Rule(f"pytest_moqt/{name}.py", STDLIB, _LIGHT, module_level=True)
        for name in ("cli", "catalog", "options", "selection", "listing", "expectations")
    ),
    Rule("pytest_moqt/*.py", STDLIB | {"pytest", "_pytest", "pytest_asyncio", "yaml", "pytest_moqt"}),
    Rule("interop_tests/**/*.py", STDLIB | {"pytest", "interop_tests"}, exact=frozenset({PUBLIC})),
    Rule(  # an endpoint beside MoQT, of which it knows nothing; what is shared is about QUIC or certificates
        "quic_interop/*.py",
        STDLIB | {"quic_interop", "aioquic"},
        exact=frozenset({"pytest_moqt.relay.certificates", "pytest_moqt.client.aioquic_internals"}),
    ),
    *(
        Rule(f"quic_interop/{name}.py", STDLIB, _LIGHT_ENDPOINT, module_level=True)
        for name in ("__init__", "cases", "command", "errors", "settings")
    ),
    Rule("entrypoint.py", frozenset({"__future__"}), exact=frozenset({"pytest_moqt.cli"})),
]

DRAFTS_ARE_TOLD_APART_IN = {
    f"pytest_moqt/{name}.py"
    for name in (
        "protocol/drafts",
        "protocol/layouts",
        "protocol/parameter_layouts",
        "protocol/registries",
        "protocol/sections",
        "catalog",
    )
}


def _nodes(tree: ast.AST, *, module_level: bool) -> Iterator[ast.AST]:
    """All nodes; with `module_level` those that run at import time, type-checking blocks left out."""
    for node in ast.iter_child_nodes(tree):
        if module_level and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _nodes(node, module_level=module_level)


def _package(path: Path) -> list[str]:
    return list(path.relative_to(ROOT).parent.parts)


def _imports(path: Path, *, module_level: bool = False) -> Iterator[tuple[int, str]]:
    """Line and module of every import; `from a import b` is a.b where that is a module of ours."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _nodes(tree, module_level=module_level):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _package(path)
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                below = ROOT.joinpath(*module.split("."), alias.name)
                is_module = below.is_dir() or below.with_suffix(".py").is_file()
                yield node.lineno, f"{module}.{alias.name}" if is_module else module


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.files) for rule in RULES])
def test_modules_import_only_what_their_layer_may(rule: Rule) -> None:
    """An import that points upwards, or to the other side of the relay, is a violation."""
    files = sorted(ROOT.glob(rule.files))

    violations = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in files
        for line, module in _imports(path, module_level=rule.module_level)
        if not rule.allows(module)
    ]

    assert files
    assert violations == []


def test_only_public_names_are_imported_by_the_cases() -> None:
    """The cases use what pytest_moqt promises, the names that it loads on demand, and no module of it."""
    public = {name for names in pytest_moqt._HOMES.values() for name in names.split()}
    used = {
        (str(path.relative_to(ROOT)), alias.name)
        for path in ROOT.glob("interop_tests/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == PUBLIC
        for alias in node.names
    }

    assert used
    assert {(path, name) for path, name in used if name not in public} == set()


def test_relay_uses_the_version_of_the_package_and_nothing_else_of_it() -> None:
    """Through the package's lazy names the relay could reach the client; it does not."""
    used = {
        f"{path.relative_to(ROOT)}: {ast.unparse(node)}"
        for path in ROOT.glob("pytest_moqt/relay/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node.value) == PUBLIC
            and node.attr != "__version__"
        )
        or (isinstance(node, ast.ImportFrom) and node.module == PUBLIC)
    }

    assert used == set()


@pytest.mark.parametrize(
    "module",
    [
        "pytest_moqt.cli",
        "pytest_moqt.catalog",
        "pytest_moqt",
        "pytest_moqt.lint.command",
        "quic_interop.cases",
    ],
)
def test_command_starts_without_pytest_and_aioquic(module: str) -> None:
    """Help, lists and unknown names are answered before anything heavy is imported."""
    script = (
        f"import sys, {module}; print(*sorted({{'pytest', 'aioquic', 'asyncio', 'yaml'}} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == []


# ---- drafts are data -------------------------------------------------------------------------------


def _is_draft_number(node: ast.expr) -> bool:
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return bool(node.elts) and all(map(_is_draft_number, node.elts))
    return isinstance(node, ast.Constant) and type(node.value) is int and 14 <= node.value <= 22


def _speaks_of_drafts(node: ast.expr) -> bool:
    return re.search(r"draft|number", ast.unparse(node)) is not None


def _draft_comparisons(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(_is_draft_number, sides)) and any(map(_speaks_of_drafts, sides)):
                yield node
        elif isinstance(node, ast.Match) and _speaks_of_drafts(node.subject):
            patterns = [part for case in node.cases for part in ast.walk(case.pattern)]
            if any(isinstance(part, ast.MatchValue) and _is_draft_number(part.value) for part in patterns):
                yield node


def test_draft_numbers_are_compared_in_the_tables_only() -> None:
    """What differs between drafts is a row or a field of `Draft`, never an `if`."""
    files = [*ROOT.glob("pytest_moqt/**/*.py"), *ROOT.glob("interop_tests/**/*.py"), ROOT / "entrypoint.py"]

    violations = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)} {ast.unparse(node).splitlines()[0]}"
        for path in sorted(files)
        if str(path.relative_to(ROOT)) not in DRAFTS_ARE_TOLD_APART_IN
        for node in _draft_comparisons(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert violations == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if draft.number >= 16: pass", True),
        ("x = 14 < draft.number <= 18", True),
        ("x = draft in (14, 16)", True),
        ("match draft.number:\n    case 14: pass", True),
        ("x = len(data) == 16", False),
        ("x = draft.number in row.span", False),
        ("x = number > 0x7F", False),
    ],
)
def test_comparison_of_draft_numbers_is_recognised(source: str, found: bool) -> None:
    """The check above finds what it is for."""
    assert bool(list(_draft_comparisons(ast.parse(source)))) is found


# ---- what no file may name -------------------------------------------------------------------------

# Written in halves, so that this file does not name them.
_FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.}])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"]) + r")/\w",
            "py" + r"pi\.org",
            "python" + r"hosted\.org",
            "np" + r"mjs\.org",
            r"crates" + r"\.io/api",
        ]
    )
)


def _tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_package_registry() -> None:
    """A checkout works on any machine and with any registry: no path of one, no host of the other."""
    files = _tracked()
    if not files:
        pytest.skip("this is no git checkout, so what is part of the project is not known")

    named = [
        f"{path.relative_to(ROOT)}:{number} {found.group()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (found := _FORBIDDEN.search(line))
    ]

    assert named == []
