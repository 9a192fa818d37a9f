"""A model's directory in; a digest of what makes it act as it does out, the same wherever the directory lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

from turnmix.core.errors import UserError

ACTING = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}
"""Files of weights, configuration, tokenizer and template; not the optimiser's, which only learning reads."""
CHUNK_BYTES = 1 << 20


def model_digest(location: str) -> str | None:
    """Over names and contents. None: it is no directory here, but a hub id.

    Raises:
        UserError: a file of it cannot be read.
    """
    directory = Path(location)
    if not directory.is_dir():
        return None
    digest = hashlib.sha256()
    try:
        for path in sorted(directory.iterdir()):
            if path.suffix not in ACTING or not path.is_file():
                continue
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
    except OSError as error:
        raise UserError(f"student.model: {error.filename} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
