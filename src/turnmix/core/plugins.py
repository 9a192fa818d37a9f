"""In: names of a user's own code, `package.module:Name`. Out: the things they name, or one line on what is wrong.

Nothing is registered anywhere: what Python can import can be named. The current directory can be imported from too,
after all that is installed, so that a file beside the recipe is enough.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import importlib.util
import inspect
import keyword
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Any

from turnmix.core.errors import PluginError, TurnMixError, UserError

_OWN = "turnmix"
_INSTALLED = ("site-packages", "dist-packages")
_MOST_TOLD = 20
"""Names that a module has."""


def is_plugin_name(name: object) -> bool:
    """Is it written as the name of a plugin?

    >>> [is_plugin_name(each) for each in ("my_world.tasks:Words", "minirepo", "my_world.Words", "a/b.py:Words", 3)]
    [True, False, False, False, False]
    """
    if not isinstance(name, str):
        return False
    module, colon, attribute = name.partition(":")
    return bool(colon) and _is_dotted(module) and _is_dotted(attribute)


def meant_plugin(name: object) -> str | None:
    """The plugin's name that was meant by a path or by a name without a colon; None: none was.

    >>> [meant_plugin(each) for each in ("my_world.Words", "my/world.py:Words", "./world.py:Words", "container")]
    ['my_world:Words', 'my.world:Words', 'world:Words', None]
    """
    if not isinstance(name, str):
        return None
    path, colon, attribute = name.partition(":")
    if not colon:
        path, _, attribute = name.rpartition(".")
    module = path.removeprefix("./").removesuffix(".py").replace("/", ".")
    found = f"{module}:{attribute}"
    return found if is_plugin_name(found) and attribute != "py" else None


def load_plugin(name: str, *, field: str) -> Any:
    """What `package.module:Name` names.

    In:
        name: a plugin's name.
        field: the recipe's field that names it, for errors.

    Raises:
        UserError: there is no such module, or nothing of that name in it; or the module itself raises, told with its
            own file and line.
    """
    if not is_plugin_name(name):
        meant = f"; did you mean {meant_plugin(name)!r}?" if meant_plugin(name) else ""
        raise UserError(f"{field}: {name!r}: name code of your own as package.module:Name{meant}")
    module, _, attribute = name.partition(":")
    found: Any = _imported(module, name=name, field=field)
    for part in attribute.split("."):
        if not hasattr(found, part):
            close = difflib.get_close_matches(part, _public(found), n=1)
            hint = (
                f"; did you mean {close[0]!r}?"
                if close
                else f"; it has {', '.join(_public(found)[:_MOST_TOLD]) or 'none'}"
            )
            where = shown_path(getattr(found, "__file__", None)) or module
            raise UserError(f"{field}: {name!r}: there is no {part} in {where}{hint}")
        found = getattr(found, part)
    return found


def loaded_plugin(name: str) -> Any:
    """What `package.module:Name` names, where its module was imported before; None else."""
    module, _, attribute = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def plugin_fault(error: BaseException, *, name: str) -> str:
    """What a plugin raised, and where: `my_world/tasks.py:12 (my_world.tasks:Words): KeyError: 'x'`, one line.

    The innermost frame of the plugin's own code is told; where there is none, where what is named begins. Of a group
    of errors, which is what task groups raise, the first is told.
    """
    while isinstance(group := getattr(error, "exceptions", None), tuple) and group:
        error = group[0]
    if isinstance(error, SyntaxError) and error.filename is not None:
        where = f"{shown_path(error.filename)}:{error.lineno}"
        message = error.msg
    else:
        where = _raised_in(error.__traceback__, name) or _defined_in(name) or _file_of(name)
        message = str(error)
    told = type(error).__name__ if not isinstance(error, TurnMixError) else ""
    told = ": ".join(part for part in (told, " ".join(message.split())) if part)
    return f"{where} ({name}): {told}".lstrip()


def raised_at(error: BaseException) -> str:
    """Of an error that says nothing: where it was raised, and its kind."""
    place, frame = "", error.__traceback__
    while frame is not None:
        place = f"{shown_path(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}: "
        frame = frame.tb_next
    return f"{place}{type(error).__name__}"


@contextlib.contextmanager
def telling_faults(name: str) -> Iterator[None]:
    """Inside, a plugin runs: what it raises by mistake is a PluginError, told with the plugin's own file and line. What
    it raises on purpose, a TurnMixError of any kind, passes: a TeacherError is tried again, for one. So does all that
    something of TurnMix's own raises, whose name is no plugin's, and what ends it from outside, such as Ctrl-C. An exit
    of its own is a mistake.

    Raises:
        PluginError: see there.
    """
    try:
        yield
    except TurnMixError:
        raise
    except BaseException as error:
        if not is_plugin_name(name) or _comes_from_outside(error):
            raise
        raise PluginError(plugin_fault(error, name=name)) from error


def package_of(name: str) -> str:
    """The package, or the module at the top, in which a plugin's code lies.

    >>> package_of("my_world.tasks:Words")
    'my_world'
    """
    return name.partition(":")[0].partition(".")[0]


def shown_path(file: str | None) -> str:
    """A file as it is found from here; nothing for none."""
    if file is None:
        return ""
    here = os.getcwd()
    return os.path.relpath(file, here) if os.path.abspath(file).startswith(f"{here}{os.sep}") else file


def _file_of(name: str) -> str:
    """The file that would be imported; nothing where that cannot be told."""
    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec(name.partition(":")[0])
        return shown_path(None if spec is None else spec.origin)
    return ""


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in text.split("."))


def _imported(module: str, *, name: str, field: str) -> ModuleType:
    # What a plugin prints is not what a command was asked for.
    with _importable_here(module), contextlib.redirect_stdout(sys.stderr):
        try:
            return importlib.import_module(module)
        except BaseException as error:
            if _comes_from_outside(error):
                raise
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{module}.".startswith(f"{missing}."):
                raise UserError(f"{field}: {name!r}: {_not_found(name, missing)}") from None
            fix = "" if missing is None else ": install it, or start TurnMix where it lies"
            raise UserError(f"{field}: {plugin_fault(error, name=name)}{fix}") from error


@contextlib.contextmanager
def _importable_here(module: str) -> Iterator[None]:
    """The current directory is last in the path; it stays there where the plugin was found in it, because a plugin may
    import more as it runs."""
    here = os.getcwd()
    is_new = here not in sys.path
    if is_new:
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        yield
    finally:
        top = sys.modules.get(module.partition(".")[0])
        if is_new and not any(_is_below(Path(file), Path(here)) for file in _places(top)):
            sys.path.remove(here)


def _not_found(name: str, missing: str) -> str:
    """Why a module cannot be imported, and what to do."""
    module = name.partition(":")[0]
    above = missing.rpartition(".")[0]
    if above:
        places = _places(sys.modules.get(above))
        found = f" in {shown_path(places[0])}" if places else ""
        own = Path(*module.split("."))
        hidden = own.with_suffix(".py").is_file() or own.is_dir()
        fix = f"its name hides {own} here: give that another name" if hidden else "name one that it has"
        if module.endswith(".py"):
            fix = f"did you mean {meant_plugin(name)!r}?"
        return f"there is no module {missing!r}{found}: {fix}"
    return (
        f"there is no module {missing!r}, neither installed nor in {os.getcwd()}: install it, or start TurnMix where "
        "it lies"
    )


def _places(module: ModuleType | None) -> list[str]:
    """The file of a module, or the directories of a package that has none."""
    file = getattr(module, "__file__", None)
    return [file] if file is not None else [str(path) for path in getattr(module, "__path__", ())]


def _is_below(file: Path, directory: Path) -> bool:
    return directory in file.parents and not any(part in _INSTALLED for part in file.parts)


def _public(thing: Any) -> list[str]:
    """Names that a module itself defines: of classes and functions its own, and objects."""
    found = []
    for name, value in vars(thing).items():
        is_definition = inspect.isclass(value) or inspect.isroutine(value)
        is_other = inspect.ismodule(value) or type(value).__module__ == "__future__"
        if is_definition:
            is_own = getattr(value, "__module__", None) == getattr(thing, "__name__", None)
        else:
            is_own = not is_other and not inspect.isclass(thing)
        if is_own and not name.startswith("_"):
            found.append(name)
    return found


def _comes_from_outside(error: BaseException) -> bool:
    """Does it end the plugin because TurnMix, or the user, wants so?"""
    if isinstance(error, asyncio.CancelledError):
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no event loop runs here
            return False
        # Before Python 3.11 a task does not tell whether it was cancelled: then it was.
        return task is None or bool(getattr(task, "cancelling", lambda: 1)())
    return isinstance(error, KeyboardInterrupt | GeneratorExit)


def _raised_in(traceback: TracebackType | None, name: str) -> str:
    """The innermost frame of the plugin's package, else of what lies beside it and is not installed."""
    of_package = beside = ""
    top = sys.modules.get(package_of(name))
    places = [str(path) for path in getattr(top, "__path__", ())] or _places(top)
    directory = Path(places[0]).parent if places else Path.cwd()
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__"))
        place = f"{shown_path(traceback.tb_frame.f_code.co_filename)}:{traceback.tb_lineno}"
        if module.partition(".")[0] == package_of(name):
            of_package = beside = place
        elif module.partition(".")[0] != _OWN and _lies_in(directory, traceback.tb_frame.f_code):
            beside = place
        traceback = traceback.tb_next
    return beside or of_package


def _lies_in(directory: Path, code: CodeType) -> bool:
    # Code of no file is named as `<string>` is.
    return not code.co_filename.startswith("<") and _is_below(
        Path(os.path.abspath(code.co_filename)), directory
    )


def _defined_in(name: str) -> str:
    """Where what is named begins; nothing where that cannot be told."""
    thing = loaded_plugin(name)
    try:
        return f"{shown_path(inspect.getsourcefile(thing))}:{inspect.getsourcelines(thing)[1]}"
    except (TypeError, OSError):
        return ""
