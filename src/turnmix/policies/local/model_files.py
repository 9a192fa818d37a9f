"""The files of a model from a stranger, looked at before any library reads them.

In: the directory in which a model lies. Out: nothing, or the file and the number at fault: one that is endless, nests
without end, or speaks of a model that is larger by far than its weights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from turnmix.core.bounded_file import MEBIBYTE, read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import MOST_BYTES, json_value

CONFIGURATION = "config.json"
_VOCABULARIES = ("tokenizer.json", "vocab.json")
MOST_VOCABULARY_BYTES = 256 * MEBIBYTE
MOST_TEMPLATE_BYTES = MEBIBYTE
_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".msgpack")
_MOST = {"layers": 10_000, "experts": 100_000, "heads": 100_000, "vocab": 1 << 28, "size": 1 << 28}
"""What a key's name holds -> what no model comes near."""
_SMALLEST_BYTES = 0.25
"""Of a weight that was quantised."""
_TIMES = 8.0
"""More of them than there is room for in the files: no matter how the estimate is taken, the model is another one."""


def check_model_files(directory: Path, *, field: str) -> None:
    """
    Raises:
        UserError: a file is none that a model has; the message names it.
    """
    for path in sorted(directory.iterdir()):
        try:
            _check(path)
        except FileNotFoundError:  # a link of the hub's cache to what was not fetched
            continue
        except OSError as error:
            raise _refused(field, directory, f"{path.name}: {error.strerror}") from error
        except ValueError as error:
            raise _refused(field, directory, f"{path.name}: {error}") from error
    configuration = directory / CONFIGURATION
    if configuration.is_file():
        read = json_value(read_bounded(configuration, most=MOST_BYTES))
        if complaint := _too_large(read, _bytes_of_weights(directory)):
            raise _refused(field, directory, f"{CONFIGURATION}: {complaint}")


def cached_file(location: str, name: str) -> Path | None:
    """A small file of a model, in its directory or in the hub's cache on this machine; None: it is not there."""
    if Path(location).is_dir():
        path = Path(location) / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(location, name)
    except ValueError:  # no name of a repository
        return None
    return Path(found) if isinstance(found, str) else None


def _check(path: Path) -> None:
    """Raises OSError and ValueError: a file is too large for what it is, no file, or nests without end."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return
    if not stat.S_ISREG(mode):
        raise OSError(0, "it is no regular file")
    if path.suffix == ".jinja":
        read_bounded(path, most=MOST_TEMPLATE_BYTES)
    elif path.name in _VOCABULARIES:
        if path.stat().st_size > MOST_VOCABULARY_BYTES:
            raise OSError(0, f"it is larger than {MOST_VOCABULARY_BYTES // MEBIBYTE} MiB")
    elif path.suffix == ".json":
        json_value(read_bounded(path, most=MOST_BYTES))


def _too_large(configuration: Any, held: int) -> str | None:
    """What is said of a size that no model has, or not one whose weights take `held` bytes; 0: they are not here."""
    if not isinstance(configuration, Mapping):
        return "it holds no JSON object"
    for name, number in _numbers(configuration):
        most = next((most for part, most in _MOST.items() if part in name.lower()), None)
        if most is not None and abs(number) > most:
            return f"{name}: {number}: no model has more than {most:,}"
    sizes = {name: number for name, number in _numbers(configuration) if number > 0}
    hidden, layers = sizes.get("hidden_size", 0), sizes.get("num_hidden_layers", 0)
    # The least that any architecture has of these sizes.
    weights = hidden * (sizes.get("vocab_size", 0) + layers * (hidden + sizes.get("intermediate_size", 0)))
    if held and weights * _SMALLEST_BYTES > _TIMES * held + MEBIBYTE:
        return f"it speaks of {weights:,} weights, for which the {held:,} bytes of the files are too few"
    return None


def _numbers(configuration: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers in it and in its sections."""
    for name, value in configuration.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value


def _bytes_of_weights(directory: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(directory) if Path(entry.name).suffix in _WEIGHTS)


def _refused(field: str, directory: Path, complaint: str) -> UserError:
    return UserError(f"{field}: {directory} is no model that can be loaded: {complaint}: choose another")
