"""Extension points: registries of named classes, built in or provided by other packages through entry points.

A plug-in is a subclass of `Plugin`: a frozen configuration whose fields are its settings, with methods that do the
work. A package registers it in its pyproject.toml, under the class's `name`:

    [project.entry-points."repro.losses"]
    my-loss = "my_package:MyLoss"

A stage configuration declares a plug-in field as `Annotated[pydantic.SerializeAsAny[Base],
pydantic.BeforeValidator(REGISTRY.parse)]`: it takes "my-loss", "my-loss(scale=2)", what `model_dump` returns, or an
instance. The plug-in's name, settings and (for another package) content then become part of the stage's identity. See
docs/extend.md.

A file (or a folder with __init__.py) can also provide plug-ins without being installed: `--plugin FILE` (see
`plugin_files`).
"""

import functools
import hashlib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pydantic

from repro.errors import InputError
from repro.system import plugin_files
from repro.system.input_errors import describe_problem, did_you_mean

KIT = __name__.partition(".")[0]
_TEXT = re.compile(r"\s*([\w.+-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


class Plugin(pydantic.BaseModel):
    """Base class of all plug-ins. Fields are settings, each with a default; they change the result."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """Its name in `--set` and in the entry point."""
    formula: ClassVar[str]
    """What it computes or does, in one line of plain text, for `repro list`."""
    source: ClassVar[str]
    """Where it is published."""

    @pydantic.model_serializer(mode="wrap")
    def _with_name(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = content_hash(type(self))
        return {"name": self.name, **handler(self)} | ({"content": content} if content else {})

    def identity(self) -> dict[str, Any]:
        """Return its part of a stage's identity: name, settings, and the content of its package."""
        return self.model_dump(mode="json")

    @property
    def label(self) -> str:
        """The name with non-default settings: "jsd(beta=0.3)"."""
        fields = type(self).model_fields
        values = {key: getattr(self, key) for key in fields if getattr(self, key) != fields[key].default}
        return f"{self.name}({', '.join(f'{key}={value}' for key, value in values.items())})" if values else self.name


P = TypeVar("P", bound=Plugin)


@dataclass(frozen=True)
class Registry(Generic[P]):
    """The named plug-ins of one extension point. A plug-in is imported when first looked up by name.

    Attributes:
        noun: what messages call one of them: "loss".
        group: the entry-point group, "repro.losses"; its last part names the option of `repro list`.
        base: the common base class.
        built_in: name -> "module:Class" of the built-in ones, which other packages cannot replace.
    """

    noun: str
    group: str
    base: type[P]
    built_in: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """Return the built-in names, then those of installed packages."""
        return tuple(self._entries())

    def find(self, name: str) -> type[P]:
        """Return the class of that name.

        Raises:
            InputError: no such name, two packages provide it, or the plug-in cannot be used.
        """
        entries = self._entries()
        if name not in entries:
            raise InputError(self._unknown(name, list(entries)))
        entry, *others = entries[name]
        if others:
            packages = ", ".join(sorted(_package(point) for point in (entry, *others)))
            raise InputError(f"{self.noun} '{name}': several packages provide it ({packages}): uninstall all but one")
        try:
            kind = entry.load()
        except Exception as error:
            raise InputError(
                f"{self.noun} '{name}': {entry.value} of {_package(entry)} cannot be imported:"
                f" {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise InputError(
                f"{self.noun} '{name}': {entry.value} of {_package(entry)} is not a subclass of"
                f" {self.base.__module__}.{self.base.__name__} (see docs/extend.md)"
            )
        lacking = [field for field in ("name", "formula", "source") if not isinstance(getattr(kind, field, None), str)]
        if lacking or kind.name != name:
            wrong = f"lacks {' and '.join(lacking)}" if lacking else f"has the name '{kind.name}'"
            raise InputError(f"{self.noun} '{name}': class {entry.value} of {_package(entry)} {wrong}")
        content_hash(kind)  # read now, as imported
        return kind

    def parse(self, value: Any) -> Any:
        """Build the plug-in described by a text or a `model_dump`; None and instances are returned unchanged.

        Raises:
            InputError: no such plug-in, invalid settings, or a package that changed since the dump.
        """
        if value is None or isinstance(value, Plugin):
            return value
        if isinstance(value, str):
            name, settings = self._read(value)
        elif isinstance(value, Mapping) and isinstance(value.get("name"), str):
            settings = dict(value)
            name = settings.pop("name")
        else:
            raise InputError(f"{self.noun} {value!r}: write its name, and its settings in brackets: {self._example()}")
        planned = settings.pop("content", None)
        kind = self.find(name)
        if planned not in (None, content_hash(kind)):
            raise InputError(
                f"{self.noun} '{name}': the files of its package have changed since this stage was planned. Run again"
            )
        try:
            return kind.model_validate(settings)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            key, fields = ".".join(map(str, first["loc"])), ", ".join(kind.model_fields) or "none"
            at = f" {key} = {first['input']!r}:" if key else ""
            raise InputError(f"{self.noun} '{name}':{at} {describe_problem(first)}. Its settings: {fields}") from None

    def describe(self) -> Iterator[tuple[str, str]]:
        """Yield each name with its listing text: settings, formula, source; or why it cannot be used."""
        for name in self.names():
            try:
                kind = self.find(name)
            except InputError as error:
                yield name, f"cannot be used: {error}"
                continue
            fields = kind.model_fields.items()
            settings = ", ".join(
                f"{key}={'?' if field.is_required() else field.get_default(call_default_factory=True)}"
                for key, field in fields
            )
            package = "" if content_hash(kind) is None else f" [{_package(self._entries()[name][0])}]"
            yield f"{name}({settings})" if settings else name, f"{kind.formula}\n{kind.source}{package}"

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """Return name -> provider, built-in ones first."""
        entries = {name: [EntryPoint(name, value, self.group)] for name, value in self.built_in.items()}
        seen = set()
        for point in _installed(self.group, tuple(sys.path)):
            if point.name not in self.built_in and (point.name, point.value, _package(point)) not in seen:
                seen.add((point.name, point.value, _package(point)))
                entries.setdefault(point.name, []).append(point)
        for kind in plugin_files.classes(self.base):
            name = getattr(kind, "name", kind.__name__)
            if name not in self.built_in:
                point = EntryPoint(name, f"{kind.__module__}:{kind.__qualname__}", self.group)
                entries.setdefault(name, []).append(point)
        return entries

    def _read(self, text: str) -> tuple[str, dict[str, Any]]:
        """Parse "name" or "name(key=value, key=value)" into name and settings."""
        match = _TEXT.fullmatch(text)
        parts = [part for part in (match[2] or "").split(",") if part.strip()] if match else []
        pairs = [part.partition("=") for part in parts]
        if match is None or not all(equals for _, equals, _ in pairs):
            raise InputError(f"{self.noun} {text!r}: write its name, and its settings in brackets: {self._example()}")
        return match[1], {key.strip(): value.strip() for key, _, value in pairs}

    def _example(self) -> str:
        return f"{next(iter(self.built_in), 'NAME')}, or NAME(setting=value)"

    def _unknown(self, name: str, names: list[str]) -> str:
        option = self.group.rpartition(".")[2]
        if not names:
            return f"{self.noun} '{name}': not found, and no installed package provides {self.noun}. Name the file that defines them: --plugin FILE"
        return f"{self.noun} '{name}': no such {self.noun}. {did_you_mean(name, names)}`repro list --{option}` shows all {len(names)}"


@functools.cache
def content_hash(kind: type[Plugin]) -> str | None:
    """Return the sha256 of the package a class comes from; None for built-in classes, which stage versions cover."""
    top = kind.__module__.partition(".")[0]
    if top == KIT:
        return None
    digest = hashlib.sha256()
    for name, file in sorted(_files(top)):
        content = file.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _files(top: str) -> Iterator[tuple[str, Path]]:
    """Yield the files of an imported package or single module, with their names relative to it."""
    module = importlib.import_module(top)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    if not folders and module.__file__:
        yield Path(module.__file__).name, Path(module.__file__)
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file.relative_to(folder).as_posix(), file


@functools.cache
def _installed(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of the packages on a search path (8 ms for a hundred packages)."""
    return tuple(entry_points(group=group))


def _package(point: EntryPoint) -> str:
    """Return the name of an entry point's package."""
    return point.dist.name if point.dist else plugin_files.file_of(point.module) or KIT
