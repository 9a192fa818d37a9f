"""Places of a recipe where a kind is chosen: one that is built in, or code of a user's own as `package.module:Name`.

In: a section's mapping. Out: an instance of the settings class that its kind names. The fields of that class are the
section's keys, whoever wrote it: validated, kept, and written again as those of the built-in kinds.

    Tasks = Annotated[TaskSettings, Door(field="tasks.source", base=TaskSettings, kinds=(MinirepoSettings, …))]
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

from pydantic import ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from turnmix.core.errors import UserError
from turnmix.core.finding import Finding
from turnmix.core.plugins import is_plugin_name, load_plugin, loaded_plugin, telling_faults
from turnmix.core.settings import Settings

UNKNOWN_KIND = "unknown_kind"
"""The type of pydantic's error for a kind that is neither built in nor the name of a plugin."""
NO_SECTION = "model_type"
"""As pydantic calls it where a value that should have keys has none."""
IMPORTED = "imported"
"""Key of pydantic's context: the names of the plugins that may be imported; without it, all may."""


class DoorSettings(Settings):
    """The base of the settings of everything that a recipe chooses by name. They make the thing that they describe."""

    chosen_by: ClassVar[str] = "kind"
    """The field that says which it is."""

    def __init_subclass__(cls, **named: Any) -> None:
        """One that is made of a built-in kind is not of that kind's name."""
        super().__init_subclass__(**named)
        tag = cls.chosen_by
        own = vars(cls).get("__annotations__", {})
        inherited = next((_fields(parent)[tag] for parent in cls.__mro__[1:] if tag in _fields(parent)), None)
        if tag not in own and inherited is not None and not inherited.is_required():
            cls.__annotations__ = {**own, tag: "str"}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A plugin's settings that are made in Python know their own name."""
        field = cls.model_fields.get(cls.chosen_by)
        is_unnamed = isinstance(given, dict) and cls.chosen_by not in given
        if is_unnamed and field is not None and field.is_required():
            return {cls.chosen_by: f"{cls.__module__}:{cls.__qualname__}", **given}
        return given

    def check(self) -> Iterable[Finding]:
        """What stands in its way on this machine. Asked by `turnmix doctor`, and before a run.

        Raises:
            UserError: it cannot be made here; the message says what to do.
        """
        return ()


def _fields(cls: type) -> Mapping[str, FieldInfo]:
    return getattr(cls, "__pydantic_fields__", {})


class Door:
    """How one section of a recipe becomes settings. It stands in the field's `Annotated`."""

    def __init__(
        self,
        *,
        field: str,
        base: type[Settings],
        kinds: tuple[type[Settings], ...],
        implied: Callable[[Mapping[str, Any]], str] = lambda given: "",
        needed: tuple[str, ...] = ("make",),
        may_be_left_out: bool = False,
    ) -> None:
        """
        In:
            field: the dotted name of what chooses the kind, such as `tasks.source`.
            base: what a plugin's class inherits from.
            kinds: the built-in ones, each with its name as the tag's default.
            implied: tells the kind of a section that does not say it from its other keys; left out, none is implied.
            needed: methods of `base` that a plugin's class must have itself.
            may_be_left_out: the section may be null.
        """
        self.field = field
        self.section, _, self.tag = field.rpartition(".")
        self.base = base
        self.kinds = {str(kind.model_fields[self.tag].default): kind for kind in kinds}
        self._implied = implied
        self._needed = needed
        self._may_be_left_out = may_be_left_out
        self._unread: type[Settings] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_wrap_validator_function(
            self._validated, handler(source), serialization=core_schema.simple_ser_schema("any")
        )

    def kind_of(self, given: Mapping[str, Any]) -> Any:
        """What the section says that it is, or what its other keys say."""
        said = given.get(self.tag)
        return self._implied(given) if said is None else said

    def known(self, given: Mapping[str, Any]) -> type[Settings] | None:
        """The settings class of a section, where it is built in or was loaded before."""
        kind = self.kind_of(given)
        if isinstance(kind, str) and kind in self.kinds:
            return self.kinds[kind]
        if not is_plugin_name(kind):
            return None
        found = loaded_plugin(str(kind))
        return found if self._is_one(found) else None

    def load(self, name: str) -> type[Settings]:
        """The settings class of a plugin.

        Raises:
            UserError: there is none of this name, or it is none for this door.
        """
        found = load_plugin(name, field=self.field)
        wanted = f"{self.base.__module__}.{self.base.__qualname__}"
        if not self._is_one(found):
            is_own = inspect.isclass(found) or inspect.isfunction(found)
            what = f"a {'class' if inspect.isclass(found) else 'function'}" if is_own else repr(found)[:80]
            others = [f"{found.__module__}:{other}" for other in self._beside(found)] if is_own else []
            fix = f"did you mean {' or '.join(map(repr, others))}?" if others else "make it one"
            raise UserError(f"{self.field}: {name!r}: {what} that is no subclass of {wanted}: {fix}")
        lacking = [each for each in self._needed if getattr(found, each) is getattr(self.base, each, None)]
        if lacking:
            raise UserError(
                f"{self.field}: {name!r}: it has no {lacking[0]} of its own: see {wanted}.{lacking[0]}"
            )
        if hiding := [each for each in found.model_fields if self._is_hidden_by(each)]:
            raise UserError(
                f"{self.field}: {name!r}: its field {hiding[0]} hides {wanted}.{hiding[0]}: give it another name"
            )
        tag_type = found.model_fields[self.tag].annotation
        if tag_type is not str and get_origin(tag_type) is not Literal:
            raise UserError(
                f"{self.field}: {name!r}: its field {self.tag} is no text: leave it out, it holds the name"
            )
        return found  # type: ignore[no-any-return]

    def _is_hidden_by(self, field: str) -> bool:
        """Would a field of this name hide what is asked of the settings?"""
        own = [each for each in self.base.__mro__ if issubclass(each, Settings)]
        return field not in self.base.model_fields and any(field in vars(each) for each in own)

    def _beside(self, found: Any) -> list[str]:
        """What of the same module would do."""
        defined = vars(sys.modules[found.__module__]).items()
        return [name for name, each in defined if self._is_one(each) and each.__module__ == found.__module__]

    def _is_one(self, found: Any) -> bool:
        return inspect.isclass(found) and issubclass(found, self.base) and found is not self.base

    def _validated(self, given: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        if isinstance(given, self.base) or (given is None and self._may_be_left_out):
            return given
        if not isinstance(given, Mapping):
            raise PydanticCustomError(NO_SECTION, "must have keys of its own")
        kind = self.kind_of(given)
        data = {**given, self.tag: kind}
        if isinstance(kind, str) and kind in self.kinds:
            return self.kinds[kind].model_validate(data, context=info.context)
        if not is_plugin_name(kind):
            raise PydanticCustomError(
                UNKNOWN_KIND, "must be one of {names}", {"names": ", ".join(self.kinds), "given": kind}
            )
        if not may_import(kind, info):
            return self._unread_class().model_validate(data, context=info.context)
        settings = self.load(kind)
        with telling_faults(kind):
            try:
                made = settings.model_validate(data, context=info.context)
                if not isinstance(made, settings):
                    raise TypeError(f"a validator of it returned {made!r:.100}: return self")
                # A recipe is stored with its run; a default that is not of its field's type would not be read again.
                made.model_dump(mode="json", warnings="error")
                return made
            except ValidationError as error:
                mistake = error
        raise mistake  # the recipe's, not the plugin's

    def _unread_class(self) -> type[Settings]:
        """Holds what was given for a plugin that was not imported."""
        if self._unread is None:
            field, tag = self.field, self.tag

            def refuse(settings: Settings, *parts: Any) -> Any:
                raise UserError(
                    f"{field}: {getattr(settings, tag)!r}: this recipe was read without its code, to be looked at; "
                    "load it by its file to act by it"
                )

            self._unread = type(
                f"Unread{self.base.__name__}",
                (self.base,),
                {
                    "model_config": ConfigDict(extra="allow"),
                    "__module__": __name__,
                    "check": refuse,
                    "make": refuse,
                },
            )
        return self._unread


def door_of(field: FieldInfo) -> Door | None:
    """The door through which a field's value comes."""
    return next((each for each in field.metadata if isinstance(each, Door)), None)


def door_of_items(field: FieldInfo) -> Door | None:
    """The door through which each item of a field's list comes."""
    marks = [mark for item in get_args(field.annotation) for mark in getattr(item, "__metadata__", ())]
    return next((each for each in marks if isinstance(each, Door)), None)


def findings_of(settings: DoorSettings) -> list[Finding]:
    """What their own check says. Raises UserError: it says that they cannot be used here, or is at fault itself."""
    with telling_faults(str(getattr(settings, settings.chosen_by))):
        return list(settings.check() or ())


def check_settings(settings: DoorSettings) -> None:
    """Asked before a run. Raises UserError, a line for each thing that is to be mended."""
    failed = [finding.detail for finding in findings_of(settings) if finding.passed is False]
    if failed:
        raise UserError(*failed)


def plugin_names(value: Any) -> set[str]:
    """All names of plugins in a recipe, in its mapping, or in a part of either."""
    if isinstance(value, Settings):
        return plugin_names(dict(value))
    if isinstance(value, Mapping):
        return {name for member in value.values() for name in plugin_names(member)}
    if isinstance(value, list | tuple):
        return {name for member in value for name in plugin_names(member)}
    return {value} if is_plugin_name(value) else set()


def may_import(name: object, info: ValidationInfo) -> bool:
    """May this be used, which may be the name of a plugin, while settings are validated?"""
    allowed: Collection[str] | None = (info.context or {}).get(IMPORTED)
    return allowed is None or not is_plugin_name(name) or name in allowed


def own_code(name: str, info: ValidationInfo, *, section: str) -> str:
    """The value of a setting that names code of the user's, imported where that may be done. `section`: the recipe's.

    Raises:
        ValueError: it is no such name.
        UserError: it cannot be imported.
    """
    if not is_plugin_name(name):
        raise ValueError("name code of your own as package.module:Name")
    if may_import(name, info):
        load_plugin(name, field=f"{section}.{info.field_name}")
    return name


def is_read(settings: Settings, info: ValidationInfo) -> bool:
    """Were all plugins that these settings name imported, so that they can be asked?"""
    return all(may_import(name, info) for name in plugin_names(settings))
