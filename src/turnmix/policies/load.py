"""A student's settings enter; the loaded model and its checked renderer leave."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from turnmix.core.errors import UserError
from turnmix.policies.local import refuse_unsupported
from turnmix.policies.local_settings import StudentSettings
from turnmix.rendering.renderer import Renderer


def load_student(settings: StudentSettings, *, source: str | None = None) -> tuple[Any, Renderer]:
    """The model and its renderer, read from `source` where `settings.model` is a name for it.

    Raises:
        UserError: it cannot be loaded, or not be used as a student.
    """
    source = source or settings.model
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, settings.dtype), attn_implementation="sdpa"
        )
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"student.model: {source!r} cannot be loaded: {first_line}; give the folder of a checkpoint in "
            "Hugging Face format, or a hub id that this machine can reach"
        ) from error
    refuse_unsupported(model.config, source)
    renderer = Renderer(tokenizer)
    renderer.check()
    return model.to(settings.device).eval(), renderer
