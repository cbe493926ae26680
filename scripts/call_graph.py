"""Which definitions of the package a function may reach, found by names, without running anything.

A definition is a function, a method, the rest of a class, a constant, or what else a module does
when it is imported; it is called `folder/module:name`. Names lead to definitions through imports.
What is called on an object is found by its name alone: a method counts as reached when its class is
and when anything reached speaks of an attribute of its name. Rather too much is reached than too
little.

A definition's hash is of what it does: comments, docstrings, formatting, imports and the
annotations of arguments do not count.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
REST = "<module>"  # what a module does when it is imported, beside defining names
NO_DATA = {".py", ".pyc", ".typed"}
NOT_COUNTED = (ast.Import, ast.ImportFrom, ast.Pass)


@dataclass
class Definition:
    """One definition: where it is, what it does, what it speaks of."""

    name: str
    module: str
    nodes: list[ast.AST] = field(default_factory=list)
    content: bytes = b""
    """Of a file that is no code."""

    @cached_property
    def hash(self) -> str:
        """Of what it does, 16 hexadecimal digits."""
        told = self.content or repr([_told(node) for node in self.nodes]).encode()
        return blake2b(told, digest_size=8).hexdigest()

    @cached_property
    def speaks_of(self) -> "SpokenOf":
        """Everything that it speaks of."""
        told = SpokenOf()
        for node in (each for root in self.nodes for each in ast.walk(root)):
            if isinstance(node, ast.Name):
                told.names.add((node.id, ""))
            elif isinstance(node, ast.Attribute):
                told.attributes.add(node.attr)
                if isinstance(node.value, ast.Name):
                    told.names.add((node.value.id, node.attr))
            elif isinstance(node, ast.Constant):
                if isinstance(node.value, str) and "." in node.value:
                    told.texts.add(node.value)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                told.imports.append(node)
        return told


@dataclass
class SpokenOf:
    """What a definition speaks of."""

    names: set[tuple[str, str]] = field(default_factory=set)
    """Names, each with an attribute of it or none."""
    attributes: set[str] = field(default_factory=set)
    """Attributes of any object."""
    texts: set[str] = field(default_factory=set)
    """Texts that may be names of modules."""
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)


class CallGraph:
    """All definitions of a package, and which of them each one speaks of."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.definitions: dict[str, Definition] = {}
        self._imported: dict[str, dict[str, tuple[str, str]]] = {}
        self._methods: dict[str, dict[str, str]] = {}
        for path in sorted(package.rglob("*.py")):
            self._read(path)
        for path in sorted(package.rglob("*.*")):
            if path.is_file() and path.suffix not in NO_DATA:
                folder = path.parent.relative_to(package).as_posix()
                name = f"{folder}:{path.name}"
                self.definitions[name] = Definition(name, folder, content=path.read_bytes())

    def of_function(self, module: str, qualified_name: str) -> str:
        """The definition that holds a function: of one made within another, the other one.

        Args:
            module: dotted, as in `__module__`.
            qualified_name: as in `__qualname__`.

        Raises:
            KeyError: the package defines no such function.
        """
        place = self._place(module)
        if place is None:
            raise KeyError(f"{module} is not of {self.package.name}")
        name = f"{place}:{qualified_name.partition('.<locals>')[0]}"
        return self.definitions[name].name

    def reached(self, roots: Iterable[str], *, stops: tuple[str, ...] = ()) -> set[str]:
        """Names of all definitions that the roots may reach, themselves included.

        Args:
            roots: names of definitions.
            stops: first letters of modules that are not entered, e.g. `storage/`.
        """
        found: set[str] = set()
        classes: list[Mapping[str, str]] = []
        spoken: set[str] = set()
        waiting = [*roots]
        while waiting:
            name = waiting.pop()
            if name in found or name.startswith(stops):
                continue
            found.add(name)
            waiting += [*self._spoken_of[name], *self._entered_in.get(name, ())]
            if name in self._methods:
                classes.append(self._methods[name])
                waiting += self._called(self._methods[name], spoken)
            if new := self.definitions[name].speaks_of.attributes - spoken:
                spoken |= new
                for methods in classes:
                    waiting += self._called(methods, new)
        return found

    def speaking_of(self, name: str, *, among: Iterable[str]) -> list[str]:
        """Those among some definitions that speak of one by its name."""
        return [each for each in among if name in self._spoken_of[each]]

    @staticmethod
    def _called(methods: Mapping[str, str], spoken: set[str]) -> list[str]:
        return [
            place
            for name, place in methods.items()
            if name in spoken or (name.startswith("__") and name.endswith("__"))
        ]

    @cached_property
    def _spoken_of(self) -> dict[str, list[str]]:
        return _Lazy(self._find_spoken_of)

    def _find_spoken_of(self, name: str) -> list[str]:
        definition = self.definitions[name]
        told = definition.speaks_of
        if definition.content:
            return []
        imported = self._imported[definition.module]
        if told.imports:
            imported = imported.copy()
            for node in told.imports:
                imported |= self._bound(node, definition.module)
        found: list[str] = []
        folder = definition.module.rpartition("/")[0] or "."
        for each in told.texts:
            place = self._place(each.partition(":")[0])
            found += self._all_of(place) if place else []
            below, _, file = f"{folder}/{each}".rpartition("/")
            found += [name for name in [f"{below}:{file}"] if name in self.definitions]
        for first, inner in told.names:
            where = imported.get(first, (definition.module, first))
            found += self._resolve(*where, [inner] if inner else [])
        if f"{definition.module}:{REST}" in self.definitions:
            found.append(f"{definition.module}:{REST}")
        return sorted({*found})

    @cached_property
    def _entered_in(self) -> dict[str, set[str]]:
        """Definition -> those that enter themselves there when their module is imported.

        Who reaches a registry by its table meets them, and who does by the function that fills it.
        """
        found: dict[str, set[str]] = {}
        for name, definition in self.definitions.items():
            for place in self._filled_by(definition):
                tables = [each for each in self._spoken_of[place] if self._is_value(each)]
                for registry in {place, *tables} - {name}:
                    found.setdefault(registry, set()).add(name)
        return found

    def _filled_by(self, definition: Definition) -> Iterator[str]:
        for node in definition.nodes:
            for filler in _fillers(node):
                yield from self._at(definition.module, filler)
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                for place in self._at(definition.module, base):
                    if hook := self._methods.get(place, {}).get("__init_subclass__"):
                        yield from (place, hook)

    def _at(self, module: str, spoken: ast.AST) -> list[str]:
        """Definitions that the beginning of `name.name.name` stands for."""
        names = []
        while isinstance(spoken, ast.Attribute):
            names.append(spoken.attr)
            spoken = spoken.value
        if not isinstance(spoken, ast.Name):
            return []
        where = self._imported[module].get(spoken.id, (module, spoken.id))
        return self._resolve(*where, names[-1:])

    def _is_value(self, name: str) -> bool:
        """Whether a definition is a constant of a module, as tables are."""
        nodes = self.definitions[name].nodes
        return any(isinstance(each, ast.Assign | ast.AnnAssign) for each in nodes)

    def _resolve(self, module: str, name: str, rest: Iterable[str]) -> list[str]:
        """Definitions that a name of a module, or a name within that one, stands for."""
        if not name:  # a module itself
            inner = next(iter(rest), None)
            return self._resolve(module, inner, ()) if inner else []
        if (place := f"{module}:{name}") in self.definitions:
            return [place]
        if name in self._imported.get(module, {}):
            return self._resolve(*self._imported[module][name], rest)
        inner_module = f"{module.removesuffix('__init__')}{name}"
        for each in (inner_module, f"{inner_module}/__init__"):
            if each in self._imported:
                return self._resolve(each, "", rest)
        return []

    def _all_of(self, module: str) -> list[str]:
        return [name for name in self.definitions if name.startswith(f"{module}:")]

    def _place(self, dotted: str) -> str | None:
        """`folder/module` of a dotted name of the package; None for any other text."""
        root, _, rest = dotted.partition(".")
        if root != self.package.name:
            return None
        path = rest.replace(".", "/")
        for each in (path, f"{path}/__init__".lstrip("/")):
            if each in self._imported:
                return each
        return None

    def _read(self, path: Path) -> None:
        module = path.relative_to(self.package).with_suffix("").as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        self._imported[module] = {}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                self._read_class(module, node)
            elif isinstance(node, FUNCTIONS):
                self._define(module, node.name, node)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._imported[module] |= self._bound(node, module)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                for name in _targets(node):
                    self._define(module, name, node)
            elif not _is_text(node):
                self._define(module, REST, node)
                for each in ast.walk(node):  # under `if TYPE_CHECKING`
                    if isinstance(each, ast.Import | ast.ImportFrom):
                        self._imported[module] |= self._bound(each, module)

    def _read_class(self, module: str, node: ast.ClassDef) -> None:
        methods = [each for each in node.body if isinstance(each, FUNCTIONS)]
        for each in methods:
            self._define(module, f"{node.name}.{each.name}", each)
        place = f"{module}:{node.name}"
        self._methods[place] = {each.name: f"{module}:{node.name}.{each.name}" for each in methods}
        body = [each for each in node.body if each not in methods and not _is_text(each)]
        rest = ast.ClassDef(
            name=node.name,
            bases=node.bases,
            keywords=node.keywords,
            body=body,
            decorator_list=node.decorator_list,
        )
        self._define(module, node.name, rest)

    def _define(self, module: str, name: str, node: ast.AST) -> None:
        place = f"{module}:{name}"
        self.definitions.setdefault(place, Definition(place, module)).nodes.append(node)

    def _bound(self, node: ast.Import | ast.ImportFrom, module: str) -> dict[str, tuple[str, str]]:
        """Name -> module of the package and name in it; an empty name for the module itself."""
        root = self.package.name
        bound: dict[str, tuple[str, str]] = {}
        if isinstance(node, ast.ImportFrom):
            first, _, rest = (node.module or "").partition(".")
            if first == root:
                folder = rest.replace(".", "/")
                is_folder = (self.package / folder).is_dir()
                origin = f"{folder}/__init__".lstrip("/") if is_folder else folder
                bound = {each.asname or each.name: (origin, each.name) for each in node.names}
        else:
            for each in node.names:
                if each.asname and each.name.startswith(f"{root}."):
                    path = each.name.partition(".")[2].replace(".", "/")
                    is_folder = (self.package / path).is_dir()
                    bound[each.asname] = (f"{path}/__init__" if is_folder else path, "")
        return bound


class _Lazy(dict[str, list[str]]):
    """A dictionary that finds its values when they are asked for."""

    def __init__(self, find: Callable[[str], list[str]]) -> None:
        super().__init__()
        self.find = find

    def __missing__(self, name: str) -> list[str]:
        self[name] = self.find(name)
        return self[name]


def _fillers(node: ast.AST) -> Iterator[ast.AST]:
    """What a definition calls or changes to enter itself somewhere, when its module is imported.

    Decorators, statements that call (`register(f)`, `TABLE.update(...)`), and assignments to a part
    of something (`TABLE["name"] = f`).
    """
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        for each in node.decorator_list:
            yield each.func if isinstance(each, ast.Call) else each
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript | ast.Attribute):
                yield target.value
    elif isinstance(node, ast.stmt):
        yield from (each.func for each in ast.walk(node) if isinstance(each, ast.Call))


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        for each in ast.walk(target):
            if isinstance(each, ast.Name):
                yield each.id


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or says what a constant is for."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _told(node: object, *, in_function: bool = False) -> object:
    """What a node does, as nested tuples that are the same under every version of Python."""
    if isinstance(node, list):
        kept = [each for each in node if not isinstance(each, NOT_COUNTED) and not _is_text(each)]
        return [_told(each, in_function=in_function) for each in kept]
    if not isinstance(node, ast.AST):
        return (type(node).__name__, repr(node))
    inside = in_function or isinstance(node, FUNCTIONS)
    left_out = {"type_comment", "type_params", "kind", "ctx", "returns"}
    if isinstance(node, ast.arg) or (inside and isinstance(node, ast.AnnAssign)):
        left_out.add("annotation")
    return (
        type(node).__name__,
        [
            (name, _told(value, in_function=inside))
            for name, value in ast.iter_fields(node)
            if name not in left_out and value not in (None, [])
        ],
    )
