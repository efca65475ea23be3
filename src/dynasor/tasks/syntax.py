"""Python code in one normal form, so that answers that differ in spelling only are one answer.

The form drops layout, comments, docstrings and annotations, and renames what is bound inside
functions in the order in which it appears. Nothing is executed or imported.
"""

from __future__ import annotations

import ast
import hashlib
import symtable
import warnings
from collections.abc import Iterator
from functools import lru_cache
from textwrap import indent
from typing import Any

__all__ = ["LONGEST_PARSED", "module_of", "normal_form", "wrapped_body"]

# Milliseconds to parse; no function that a question asks for is longer.
LONGEST_PARSED = 20_000
FORMS_KEPT = 4_096

# What reads names as strings: nothing may be renamed around it.
_REFLECTIVE = frozenset(("dir", "eval", "exec", "globals", "locals", "vars"))

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@lru_cache(FORMS_KEPT)
def normal_form(code: str) -> bytes | None:
    """Return a digest of a module's or a function body's form; None for what does not parse.

    Arguments of a body given alone are unknown: a name that is read before it is bound stays as
    it is, and so do module-level names, attributes, keywords, imports, classes and whatever a
    nested scope takes from outside. Two codes with one form do the same; not all that do the same
    have one form.
    """
    source = _source(code)
    if source is None:
        return None
    try:
        tree = _parsed(source)
        form = ast.dump(_Normaliser(_names(tree, source)).visit(tree))
        return hashlib.sha256(form.encode(errors="surrogatepass")).digest()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def module_of(code: str) -> ast.Module | None:
    """Parse code as a module; None where it is none, too long or too deeply nested."""
    if len(code) > LONGEST_PARSED:
        return None
    try:
        return _parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def wrapped_body(body: str) -> str | None:
    """Return indented statements as a function of their own; None where they are no body."""
    source = f"def _():\n{body}"
    tree = module_of(source)
    # An unindented line would end the function.
    return source if tree is not None and len(tree.body) == 1 else None


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():  # escapes such as "\d" are the answer's own business
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _source(code: str) -> str | None:
    """Return code as a module; a body, indented or not, as a function's."""
    tree = module_of(code)
    if tree is None:
        return wrapped_body(code)
    if any(isinstance(one, ast.Return) for one in tree.body):
        return wrapped_body(indent(code, "    "))
    return code


def _names(tree: ast.Module, source: str) -> dict[str, str]:
    """Return the new name of every name that can be renamed."""
    occurrences = _Occurrences()
    occurrences.visit(tree)
    if _REFLECTIVE & occurrences.is_bound_first.keys():
        return {}
    inner, outer = _scopes(source)
    kept = occurrences.kept | outer
    bound = (name for name, is_bound in occurrences.is_bound_first.items() if is_bound)
    chosen = [name for name in bound if name in inner and name not in kept]
    # No identifier looks like that, so no new name meets one that stays.
    return {name: f"${number}" for number, name in enumerate(chosen)}


def _scopes(source: str) -> tuple[set[str], set[str]]:
    """Return the names local to functions, and those known outside of them."""
    inner: set[str] = set()
    outer: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = symtable.symtable(source, "<answer>", "exec")
    for table in _tables(top):
        is_function = table.get_type() == "function"
        for symbol in table.get_symbols():
            if is_function and symbol.is_local():
                inner.add(symbol.get_name())
            elif not is_function or symbol.is_global():
                outer.add(symbol.get_name())
    return inner, outer


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


class _Occurrences(ast.NodeVisitor):
    """Walks in the order of evaluation and notes whether a name is bound before it is read."""

    def __init__(self) -> None:
        self.is_bound_first: dict[str, bool] = {}
        self.kept: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.is_bound_first.setdefault(node.id, isinstance(node.ctx, ast.Store))

    def visit_arg(self, node: ast.arg) -> None:
        self.is_bound_first.setdefault(node.arg, True)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name is not None:
            self.is_bound_first.setdefault(node.name, True)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._define(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._define(node)

    def _define(self, node: _Function) -> None:
        self.is_bound_first.setdefault(node.name, True)
        self._visit(*node.decorator_list, node.args, *node.body)

    def visit_arguments(self, node: ast.arguments) -> None:
        self._visit(*node.defaults, *(one for one in node.kw_defaults if one))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit(node.value, *node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit(*([node.value] if node.value else []), node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.is_bound_first.setdefault(node.target.id, False)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit(node.value, node.target)

    def visit_For(self, node: ast.For) -> None:
        self._visit(node.iter, node.target, *node.body, *node.orelse)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._visit(node.iter, node.target, *node.body, *node.orelse)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._visit(node.iter, node.target, *node.ifs)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._visit(*node.generators, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._visit(*node.generators, node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._visit(*node.generators, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit(*node.generators, node.key, node.value)

    def generic_visit(self, node: ast.AST) -> None:
        # What binds or mentions a name in another way than the normaliser renames.
        match node:
            case ast.alias():
                self.kept |= {node.asname or node.name.split(".")[0]}
            case ast.ClassDef():
                self.kept.add(node.name)
            case ast.keyword(arg=str(name)):
                self.kept.add(name)
            case ast.Global() | ast.Nonlocal():
                self.kept.update(node.names)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.kept.add(name)
            case ast.MatchMapping(rest=str(name)):
                self.kept.add(name)
        super().generic_visit(node)

    def _visit(self, *nodes: ast.AST) -> None:
        for node in nodes:
            self.visit(node)


class _Normaliser(ast.NodeTransformer):
    """Renames, and removes what has no effect."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.arg, node.annotation = self._names.get(node.arg, node.arg), None
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name is not None:
            node.name = self._names.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._define(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._define(node)

    def _define(self, node: _Function) -> ast.AST:
        node.name, node.returns = self._names.get(node.name, node.name), None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for name in ("bases", "keywords", "decorator_list"):
            setattr(node, name, [self.visit(one) for one in getattr(node, name)])
        body = [self._member(one) for one in node.body]
        node.body = [one for one in body if one is not None]
        return node

    def _member(self, node: ast.stmt) -> Any:
        """Keep the annotations of a class's own fields: a class may read them."""
        return self.generic_visit(node) if isinstance(node, ast.AnnAssign) else self.visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit_Assign(ast.Assign([node.target], node.value))

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return None
        return self.generic_visit(node)

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        node.kind = None  # the u of u"text"
        return node
