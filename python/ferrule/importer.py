"""From `MODULE:ATTR` to a callable and the interface it speaks.

Runs in workers (and in `server check`): the arbiter only uses `discover`, which reads source text and imports nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import CodeType, FunctionType

from .config import Settings
from .config.names import nearest
from .errors import AppError
from .logs import format_traceback
from .records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Signature
    from typing import Any

MODULES = ("main", "app", "asgi", "wsgi", "application")
ATTRIBUTES = ("app", "application")

_CO_VARARGS, _CO_COROUTINE = 0x04, 0x80  # of `co_flags`, as `inspect` has them

_ASGI2 = (
    "speaks ASGI 2 (called with the scope alone), which no current framework needs; "
    "wrap it with asgiref.compatibility.guarantee_single_callable"
)


class Application(Record):
    """A loaded application. `interface` is "asgi" or "wsgi"; `name` is how it was found."""

    call: Any
    interface: str
    name: str


def enter_app_dir(settings: Settings) -> None:
    """Work in `--app-dir` and import from there. Raises `AppError` when it cannot be entered."""
    if settings.app_dir is not None:
        try:
            os.chdir(settings.app_dir)
        except OSError as error:
            raise AppError(f"--app-dir: cannot enter {settings.app_dir}: {error.strerror}") from None
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)


def discover(directory: str) -> str | None:
    """`MODULE:ATTR` of the first usual file that defines a usual name, found in its text without running it."""
    import ast

    for module in MODULES:
        try:
            tree = ast.parse(_read(os.path.join(directory, f"{module}.py")))
        except (OSError, SyntaxError, ValueError):
            continue
        names = set(_top_level_names(tree.body))
        for attribute in ATTRIBUTES:
            if attribute in names:
                return f"{module}:{attribute}"
    return None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _top_level_names(body: list[Any]) -> Any:
    import ast

    for node in body:
        match node:
            case ast.Assign(targets=targets):
                yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.If() | ast.Try():
                yield from _top_level_names([*node.body, *node.orelse])


def load_app(settings: Settings) -> Application:
    """Import the application, call its factory if there is one, and find out what it speaks.

    Raises `AppError`: one line when the name is wrong, with the traceback when the user's own code raised.
    """
    if settings.app is None:
        raise AppError(
            "no application: give MODULE:ATTR, or name it app in one of " + ", ".join(f"{name}.py" for name in MODULES)
        )
    name, factory = settings.app, settings.factory
    if name.endswith("()"):
        name, factory = name.removesuffix("()"), True
    module_name, _, attribute = name.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        module_name = module_name.removesuffix(".py").strip("./").replace("/", ".")
        suggestion = f"{module_name}:{attribute or 'app'}"
        raise AppError(f"{settings.app}: expected MODULE:ATTR, a module and not a file; try {suggestion}")
    if not module_name:
        raise AppError(f"{settings.app}: expected MODULE:ATTR")
    module = _import(module_name)
    target = _attribute(module, module_name, attribute)
    return as_application(target, f"{module_name}:{attribute}" if attribute else module_name, settings, factory)


def as_application(target: Any, name: str, settings: Settings, factory: bool | None = None) -> Application:
    """Check an object that is meant to be an application. Raises `AppError`."""
    if settings.factory if factory is None else factory:
        target = _call_factory(target, name)
    if not callable(target):
        raise AppError(f"{name} is not callable: it is {_a_type(target)}")
    if settings.interface != "auto":
        return Application(_instantiated(target), settings.interface, name)
    return Application(*_detect(target, name), name)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself, or a package above it, does not exist; anything deeper is the user's import statement.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise AppError(f"no module named {error.name} in {os.getcwd()} or on the Python path") from None
        raise _raised(f"{name} cannot be imported", error) from None
    except SystemExit as error:
        raise AppError(f"{name} cannot be imported: it called sys.exit({error.code!r})") from None
    except Exception as error:
        raise _raised(f"{name} cannot be imported", error) from None


def _attribute(module: Any, module_name: str, attribute: str) -> Any:
    if not attribute:
        for usual in ATTRIBUTES:
            if hasattr(module, usual):
                return getattr(module, usual)
        raise AppError(f"module {module_name} has neither app nor application; say {module_name}:ATTR")
    target, owner = module, f"module {module_name}"
    for part in attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            suggestion = nearest(part, [name for name in dir(target) if not name.startswith("__")])
            hint = f"; did you mean {suggestion}?" if suggestion else ""
            raise AppError(f"{owner} has no attribute {part}{hint}") from None
        owner = f"{owner}.{part}" if ":" in owner else f"{module_name}:{part}"
    return target


def _call_factory(factory: Any, name: str) -> Any:
    if not callable(factory):
        raise AppError(f"{name} is not a factory: it is {_a_type(factory)}, which cannot be called")
    if _is_coroutine_function(factory):
        raise AppError(f"{name} is not a factory: it is a coroutine function; is it the application itself?")
    required = _required_arguments(factory)
    if required:
        raise AppError(f"{name} is not a factory: it needs {_count(required, 'argument')}")
    try:
        return factory()
    except Exception as error:
        raise _raised(f"factory {name} failed", error) from None


def _detect(target: Any, name: str) -> tuple[Any, str]:
    """The callable to use and its interface. Coroutine functions and three arguments mean ASGI, two mean WSGI."""
    if isinstance(target, type):
        return _detect_class(target, name)
    call = target if _is_routine(target) else type(target).__call__
    plain: Any = target
    while hasattr(plain, "func") and hasattr(plain, "keywords"):  # functools.partial
        plain = plain.func
    required = _required_arguments(target)
    if any(_is_coroutine_function(each) for each in (target, call, plain)):
        if required == 2:
            raise AppError(f"{name} {_ASGI2}")
        return target, "asgi"
    if required == 3:
        return target, "asgi"
    if required == 1 and _parameter_names(target)[:1] == ["scope"]:
        raise AppError(f"{name} {_ASGI2}")
    if required == 0 and not _takes_arguments(target):
        raise AppError(f"{name} takes no arguments, so it is no application; if it makes one, say --factory")
    return target, "wsgi"


def _detect_class(target: type, name: str) -> tuple[Any, str]:
    import inspect

    instance_call = inspect.getattr_static(target, "__call__", None)
    defines_call = any("__call__" in each.__dict__ for each in target.__mro__[:-1])
    required = _required_arguments(target)
    if required == 3 and hasattr(target, "__await__"):
        return target, "asgi"
    if defines_call and inspect.iscoroutinefunction(instance_call):
        if required == 1:
            raise AppError(f"{name} {_ASGI2}")
        if required == 0:
            return _instantiated(target), "asgi"
    if defines_call and required == 0:
        return _detect(_instantiated(target), name)
    if required == 2:  # instances are iterables of the response: a usual form of WSGI application
        return target, "wsgi"
    raise AppError(f"{name} is a class that needs {_count(required or 0, 'argument')}; give an instance of it")


def _instantiated(target: Any) -> Any:
    """An instance of a class that wants to be instantiated before it is called, else `target` itself."""
    if not isinstance(target, type) or _required_arguments(target) != 0:
        return target
    try:
        return target()
    except Exception as error:
        raise _raised(f"{target.__qualname__}() failed", error) from None


# `inspect` takes longer to import than a small application: what every plain function can tell itself, it is asked.


def _plain_code(target: object) -> CodeType | None:
    """The code of a function that is nothing but that: not wrapped, not marked, without a signature of its own."""
    return target.__code__ if type(target) is FunctionType and not target.__dict__ else None


def _is_coroutine_function(target: object) -> bool:
    code = _plain_code(target)
    if code is not None:
        return bool(code.co_flags & _CO_COROUTINE)
    import inspect

    return inspect.iscoroutinefunction(target)


def _is_routine(target: object) -> bool:
    if type(target) is FunctionType:
        return True
    import inspect

    return inspect.isroutine(target)


def _signature(target: Callable[..., Any]) -> Signature | None:
    import inspect

    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        return None


def _required_arguments(target: Callable[..., Any]) -> int | None:
    """How many positional arguments must be given; None when it cannot be told."""
    code = _plain_code(target)
    if code is not None:
        defaults = getattr(target, "__defaults__", None) or ()
        return None if code.co_flags & _CO_VARARGS else code.co_argcount - len(defaults)
    signature = _signature(target)
    if signature is None:
        return None
    parameters = signature.parameters.values()
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) and each.default is each.empty
        for each in parameters
    )


def _takes_arguments(target: Callable[..., Any]) -> bool:
    signature = _signature(target)
    return signature is None or bool(signature.parameters)


def _parameter_names(target: Callable[..., Any]) -> list[str]:
    signature = _signature(target)
    return [] if signature is None else list(signature.parameters)


def _raised(message: str, error: BaseException) -> AppError:
    return AppError(f"{message}: {type(error).__name__}: {error}", format_traceback(error, below=__file__))


def _a_type(target: object) -> str:
    name = type(target).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
