"""The step boundaries of both lines, read from the code: before and after every `await`, `async for` turn and `async with` step.

`install` makes the interpreter compile the chosen modules with each of these wrapped, so that a process can be ended exactly there.
"""

import ast
import importlib.util
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

MODULES = (
    "poller.schedule",
    "poller.poll",
    "poller.track",
    "poller.keep",
    "poller.deliver",
    "poller.settle",
    "poller.healing",
    "poller.sinks.kafka.lane",
    "poller.sinks.kafka.producer",
    "poller.sinks.kafka.reading",
)
EACH = (
    "poller.one_by_one.delivery",
    "poller.one_by_one.part",
    "poller.one_by_one.feed",
    "poller.one_by_one.gate",
    "poller.one_by_one.place",
    "poller.place",
)
"""The way out where events go one by one."""
ALL = MODULES + EACH
_HIT = "__edge__"


class Edge(NamedTuple):
    """One boundary."""

    function: str
    """With its module and class."""
    what: str
    """What is awaited: a call without its arguments. ` #2`: the second such one of the function."""
    side: str
    """before | after"""

    @property
    def name(self) -> str:
        """`poller.keep.Keeper._commit: shard.store.commit_page before`: says nothing about lines, which move."""
        return f"{self.function}: {self.what} {self.side}"


class _Wrap(ast.NodeTransformer):
    """Wraps what is awaited; notes the edges in the order of the code."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.edges: list[Edge] = []
        self._where: list[str] = []
        self._counts: Counter[tuple[str, str]] = Counter()

    def _scope(self, node: ast.AST) -> ast.AST:
        self._where.append(node.name)  # type: ignore[attr-defined]
        self.generic_visit(node)
        self._where.pop()
        return node

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _scope  # noqa: N815 names of the library

    def _wrapped(self, value: ast.expr, kind: str) -> ast.expr:
        function = ".".join((self.module, *self._where))
        what = ast.unparse(value.func if isinstance(value, ast.Call) else value)
        self._counts[function, what] += 1
        what += f" #{times}" if (times := self._counts[function, what]) > 1 else ""
        first = len(self.edges)
        self.edges += [Edge(function, what, side) for side in ("before", "after")]
        call = ast.Call(
            ast.Attribute(ast.Name(_HIT, ast.Load()), kind, ast.Load()),
            [ast.Constant(self.edges[first].name), ast.Constant(self.edges[first + 1].name), value],
            [],
        )
        return ast.fix_missing_locations(ast.copy_location(call, value))

    def visit_Await(self, node: ast.Await) -> ast.AST:
        """`await x`"""
        node.value = self._wrapped(node.value, "wait")
        self.generic_visit(node)
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        """`async for … in x`"""
        node.iter = self._wrapped(node.iter, "turns")
        self.generic_visit(node)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """`[… async for … in x]`"""
        if node.is_async:
            node.iter = self._wrapped(node.iter, "turns")
        self.generic_visit(node)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        """`async with x`"""
        for item in node.items:
            item.context_expr = self._wrapped(item.context_expr, "hold")
        self.generic_visit(node)
        return node


def edges(modules: Sequence[str] = ALL) -> list[Edge]:
    """Every boundary, in the order of the code."""
    found: list[Edge] = []
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        assert spec.origin is not None, module
        wrap = _Wrap(module)
        wrap.visit(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
        found += wrap.edges
    return found


Hit = Callable[[str], Awaitable[None] | None]
"""Told of each boundary that is met; what it returns is awaited there."""


class Hits:
    """What the wrapped code calls."""

    def __init__(self, hit: Hit) -> None:
        self._hit = hit

    async def meet(self, name: str) -> None:
        """One boundary."""
        if (held := self._hit(name)) is not None:
            await held

    async def wait(self, before: str, after: str, what: Awaitable[Any]) -> Any:
        """In the place of `await what`."""
        await self.meet(before)
        result = await what
        await self.meet(after)
        return result

    async def turns(self, before: str, after: str, what: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """In the place of `async for … in what`."""
        await self.meet(before)
        async for one in what:
            await self.meet(after)
            yield one
            await self.meet(before)

    def hold(self, before: str, after: str, what: Any) -> "_Held":
        """In the place of `async with what`."""
        return _Held(self, before, after, what)


class _Held:
    def __init__(self, hits: Hits, before: str, after: str, what: Any) -> None:
        self._hits, self._before, self._after, self._what = hits, before, after, what

    async def __aenter__(self) -> Any:
        await self._hits.meet(self._before)
        entered = await self._what.__aenter__()
        await self._hits.meet(self._after)
        return entered

    async def __aexit__(self, *raised: object) -> Any:
        await self._hits.meet(self._before)
        result = await self._what.__aexit__(*raised)
        await self._hits.meet(self._after)
        return result


class _Loader(SourceFileLoader):
    """Compiles from the source, wrapped; nothing is cached."""

    hits: Hits

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        wrap = _Wrap(fullname)
        return compile(wrap.visit(ast.parse(self.get_data(path))), path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _HIT, self.hits)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, hits: Hits, modules: Sequence[str]) -> None:
        self._hits = hits
        self._modules = modules

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002 the library's
        if fullname not in self._modules:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        assert spec is not None
        assert spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.hits = self._hits
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)


def install(hit: Hit, modules: Sequence[str] = ALL) -> None:
    """Before the chosen modules are imported for the first time."""
    assert not set(modules) & set(sys.modules), "too late: already imported"
    sys.meta_path.insert(0, _Finder(Hits(hit), modules))
