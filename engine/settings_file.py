"""prosect.toml and flags → settings: flag over file over default; unknown keys and wrong values refused."""

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from engine.errors import SettingsError
from engine.settings import Range, Settings

T = TypeVar("T")


def load_settings(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Settings from a TOML file (absent: defaults), then ``overrides`` per stage.

    Raises:
        SettingsError: unreadable TOML, an unknown stage or key, a value of the wrong type or out of range.
    """
    raw: dict[str, Any] = {}
    if path is not None and path.exists():
        import tomllib

        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}", hint="fix the TOML syntax at that place") from error
    where = str(path) if path is not None else "settings"
    settings = Settings()
    for layer, origin in ((raw, where), (dict(overrides or {}), "command line")):
        for stage, values in layer.items():
            if stage not in {f.name for f in fields(Settings)}:
                raise SettingsError(
                    f"{origin}: there is no stage [{stage}]",
                    hint=_nearest(stage, [f.name for f in fields(Settings)]),
                )
            if not isinstance(values, Mapping):
                raise SettingsError(f"{origin}: [{stage}] must be a table")
            settings = replace(
                settings, **{stage: apply(getattr(settings, stage), values, f"{origin}: [{stage}]")}
            )
    return settings


def apply(current: T, values: Mapping[str, Any], where: str) -> T:
    """A copy of one stage's settings with some values replaced; unknown keys and wrong values are refused."""
    if not is_dataclass(current) or isinstance(current, type):
        raise TypeError(f"{current!r} is not a settings object")
    hints = typing.get_type_hints(type(current), include_extras=True)
    changes = {}
    for key, value in values.items():
        if key not in hints:
            raise SettingsError(f"{where} has no key `{key}`", hint=_nearest(key, list(hints)))
        changes[key] = _coerce(value, hints[key], f"{where} {key}")
    return replace(current, **changes)


def _coerce(value: Any, hint: Any, where: str) -> Any:
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    options = [_plain(option) for option in (typing.get_args(hint) if is_union else (hint,))]
    for option, allowed in options:
        if option is type(None) and value is None:
            return None
        if (
            typing.get_origin(option) is tuple
            and isinstance(value, list | tuple)
            and all(isinstance(v, str) for v in value)
        ):
            return tuple(value)
        if (
            typing.get_origin(option) is Mapping
            and isinstance(value, Mapping)
            and all(isinstance(v, str) for pair in value.items() for v in pair)
        ):
            return dict(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if (option is float and is_number) or (option in (int, str, bool) and type(value) is option):
            if allowed is not None and not allowed.holds(value):
                raise SettingsError(f"{where} must be {allowed}, not {value!r}")
            return float(value) if option is float else value
    names = " or ".join(_in_words(o) for o, _ in options if o is not type(None))
    raise SettingsError(f"{where} must be {names}, not {value!r}")


def _in_words(kind: Any) -> str:
    """What a value of a type is in a settings file."""
    if typing.get_origin(kind) is Mapping:
        return "a table of texts"
    return "a list of texts" if typing.get_origin(kind) is tuple else str(getattr(kind, "__name__", kind))


def _plain(hint: Any) -> tuple[Any, Range | None]:
    """A type without what is annotated to it, and the range that is."""
    if typing.get_origin(hint) is not Annotated:
        return hint, None
    kind, *notes = typing.get_args(hint)
    return kind, next((note for note in notes if isinstance(note, Range)), None)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    meant = f"did you mean `{close[0]}`?" if close else "known: " + ", ".join(known) + ";"
    return f"{meant} `prosect help settings` explains them"
