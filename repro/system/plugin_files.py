"""Plug-in files named on the command line (`--plugin FILE`), which need not be installed.

Their paths are kept in the environment variable REPRO_PLUGINS, which stage processes and Slurm jobs inherit. Each file
is a module, and a folder with __init__.py is a package; the content is part of the identity of stages that use it
(`plugins.content_hash`).
"""

import functools
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from repro.errors import InputError

VARIABLE = "REPRO_PLUGINS"


def use(files: Iterable[Path]) -> None:
    """Also import these files, here and in all processes started from here.

    Raises:
        InputError: a file is missing, is not Python, has the name of an installed module, cannot be imported, or has no
            plug-in.
    """
    for file in files:
        path = str(file.resolve())
        if not any(_extends_the_kit(value) for value in _own_classes(_module(path))):
            raise InputError(
                f"--plugin {path}: no class in it extends a class of this kit. docs/plugins.md has examples."
            )
        if path not in paths():
            os.environ[VARIABLE] = os.pathsep.join([*paths(), path])


def paths() -> list[str]:
    """Return the paths of the files in use."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def classes(base: type) -> Iterator[type]:
    """Yield the subclasses of a class defined in the files in use."""
    for path in paths():
        yield from (value for value in _own_classes(_module(path)) if issubclass(value, base))


def _own_classes(module: ModuleType) -> Iterator[type]:
    """Yield the classes a file defines, excluding imported ones."""
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__.partition(".")[0] == module.__name__:
            yield value


def _extends_the_kit(value: type) -> bool:
    return any(base.__module__.partition(".")[0] == "repro" for base in value.__mro__)


def file_of(module: str) -> str | None:
    """Return the file in use that a module was imported from, or None."""
    return next((path for path in paths() if _name(path) == module.partition(".")[0]), None)


def _name(path: str) -> str:
    return Path(path).stem


def _is_free(name: str, file: Path) -> bool:
    """Return True if no other file is imported under this name; the file itself may be on sys.path."""
    spec = importlib.util.find_spec(name)
    return spec is None or (spec.origin is not None and Path(spec.origin).resolve() == file)


@functools.cache
def _module(path: str) -> ModuleType:
    name, file = _name(path), Path(path)
    is_package = file.is_dir()
    file = file / "__init__.py" if is_package else file
    if not file.is_file() or file.suffix != ".py" or not name.isidentifier():
        raise InputError(f"--plugin {path}: not a Python file or a folder with __init__.py. Name one.")
    if name in sys.modules or not _is_free(name, file):
        raise InputError(f"--plugin {path}: a module {name} is installed already. Rename the file.")
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[path] if is_package else None)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(
            f"--plugin {path}: cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    return module
