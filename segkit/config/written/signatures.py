"""Signatures as they are written, with the objects that stand in them."""

import ast
import dataclasses
import functools
import inspect
from typing import Any

from segkit.config.written.module import Heavy, Unreadable, WrittenModule

#: Decorators that leave a signature as it stands. `dataclass` makes one of the fields.
_REGISTERS, _DATACLASS = "register", "dataclass"
_FREE = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Written(type):
    """A class or a function that is only read: a type that stands for it in annotations, and has its signature."""

    module: WrittenModule
    node: ast.ClassDef | ast.FunctionDef

    @property
    def __signature__(cls) -> inspect.Signature:
        try:
            return read_signature(cls)
        except Unreadable as error:
            raise AttributeError(str(error)) from error


@functools.cache
def read_module(name: str) -> WrittenModule:
    """The module of a dotted name. Raises Unreadable if it has no file."""
    return WrittenModule(name, read_module, written)


@functools.cache
def written(module: WrittenModule, node: ast.ClassDef | ast.FunctionDef) -> Written:
    """What stands for a class or a function."""
    return Written(node.name, (), {"module": module, "node": node, "__doc__": _read_docstring(module, node)})


def _read_docstring(module: WrittenModule, node: ast.ClassDef | ast.FunctionDef) -> str | None:
    """The docstring of a class or a function; of one that is put together and assigned, its first part."""
    text = ast.get_docstring(node)
    if text is not None:
        return text
    for each in module.tree.body:
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == f"{node.name}.__doc__":
            part: ast.AST = each.value
            while isinstance(part, ast.BinOp | ast.JoinedStr):
                part = part.left if isinstance(part, ast.BinOp) else part.values[0]
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                return part.value
    return None


@functools.cache
def read_signature(found: Written) -> inspect.Signature:
    """The signature of a function, or of the constructor of a class. Raises Unreadable for what it cannot know."""
    decorators = [_name_of(each) for each in found.node.decorator_list]
    if unknown := set(decorators) - {_REGISTERS, _DATACLASS}:
        raise Unreadable(f"{found.module.name}.{found.node.name}: {unknown}")
    if isinstance(found.node, ast.FunctionDef):
        return inspect.Signature(_read_parameters(found.module, found.node.args))
    if _DATACLASS in decorators:
        return inspect.Signature(list(_read_fields(found).values()))
    return inspect.Signature(_read_constructor(found))


def _read_constructor(found: Written) -> list[inspect.Parameter]:
    """The parameters of `__init__`, the first that is found among the class and its bases, without `self`."""
    assert isinstance(found.node, ast.ClassDef)
    methods = {node.name: node for node in found.node.body if isinstance(node, ast.FunctionDef)}
    if "__new__" in methods or found.node.keywords:
        raise Unreadable(f"{found.module.name}.{found.node.name} is made in a way of its own")
    if "__init__" in methods:
        return _read_parameters(found.module, methods["__init__"].args)[1:]
    for base in found.node.bases:
        kind = found.module.evaluate(base)
        if isinstance(kind, Written):
            return list(read_signature(kind).parameters.values())
        if type(kind) is not type or kind.__init__ is not object.__init__:
            raise Unreadable(f"{found.module.name}.{found.node.name} inherits its constructor")
    return []


def _read_fields(found: Written) -> dict[str, inspect.Parameter]:
    """The fields of a dataclass, those of its bases first."""
    assert isinstance(found.node, ast.ClassDef)
    fields: dict[str, inspect.Parameter] = {}
    for base in reversed(found.node.bases):
        kind = found.module.evaluate(base)
        if isinstance(kind, Written):
            if _DATACLASS in map(_name_of, kind.node.decorator_list):
                fields |= _read_fields(kind)
        elif dataclasses.is_dataclass(kind) or isinstance(kind, Heavy):
            raise Unreadable(f"{found.module.name}.{found.node.name} inherits from {ast.unparse(base)}")
    for node in found.node.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation = node.target.id, _read_type(found.module, node.annotation)
            if isinstance(node.value, ast.Call) or "ClassVar" in ast.unparse(node.annotation):
                raise Unreadable(f"{found.module.name}.{found.node.name}.{name}")
            default = inspect.Parameter.empty if node.value is None else found.module.evaluate(node.value)
            fields[name] = inspect.Parameter(name, _FREE, annotation=annotation, default=default)
    return fields


def _read_parameters(module: WrittenModule, arguments: ast.arguments) -> list[inspect.Parameter]:
    """The parameters of a function as inspect has them."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults = [*missing, *arguments.defaults]
    kinds = [inspect.Parameter.POSITIONAL_ONLY] * len(arguments.posonlyargs) + [_FREE] * len(arguments.args)
    rows: list[tuple[ast.arg | None, Any, ast.expr | None]] = [
        *zip(positional, kinds, defaults, strict=True),
        (arguments.vararg, inspect.Parameter.VAR_POSITIONAL, None),
        *((arg, inspect.Parameter.KEYWORD_ONLY, default) for arg, default in _pairs(arguments)),
        (arguments.kwarg, inspect.Parameter.VAR_KEYWORD, None),
    ]
    return [
        inspect.Parameter(
            argument.arg,
            kind,
            annotation=_read_type(module, argument.annotation),
            default=inspect.Parameter.empty if default is None else module.evaluate(default),
        )
        for argument, kind, default in rows
        if argument is not None
    ]


def _pairs(arguments: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    return list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))


def _read_type(module: WrittenModule, annotation: ast.expr | None) -> Any:
    """The type that an annotation means, also one in quotes."""
    if annotation is None:
        return inspect.Parameter.empty
    found = module.evaluate(annotation)
    return module.evaluate(ast.parse(found, mode="eval").body) if isinstance(found, str) else found


def _name_of(decorator: ast.expr) -> str:
    """The last word of what is called: `register` of `@LOSSES.register("ce")`."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return called.attr if isinstance(called, ast.Attribute) else ast.unparse(called)
