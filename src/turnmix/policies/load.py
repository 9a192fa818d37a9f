"""Where a causal language model lies enters; the loaded model leaves, with its tokenizer or checked renderer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from turnmix.core.errors import UserError
from turnmix.hub import model_to_load
from turnmix.policies.local import refuse_unsupported
from turnmix.policies.local_settings import StudentSettings
from turnmix.rendering.renderer import Renderer

REMEDY = "give the directory of a checkpoint in Hugging Face format, or a hub id that can be reached"


def check_device(device: str, *, field: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: there is no such kind of device, or none here.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{field}: {device!r}: {reason}: use cpu, or cuda where torch has it") from None
    return torch.device(device)


def load_model(
    source: str | Path, *, dtype: torch.dtype = torch.float32, field: str = "student.model"
) -> tuple[Any, Any]:
    """The model, ready to act, and the tokenizer of a checkpoint directory or a hub id.

    `field` is where the recipe names it.

    Raises:
        UserError: there is none, or it is damaged, or it is no causal language model.
    """
    location = model_to_load(str(source), field=field)
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            location, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(location)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{field}: {source} cannot be loaded ({first_line}): {REMEDY}") from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{field}: {source} lacks {len(missing)} weights, such as {missing[0]}: {REMEDY}")
    return model.eval(), tokenizer


def load_student(
    settings: StudentSettings,
    *,
    source: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    tool_calls: Literal["native", "text"] = "native",
) -> tuple[Any, Any, Renderer]:
    """The student on its device, its tokenizer, and its checked renderer.

    `source` is where `settings.model` lies when that is a name for it; `dtype` and `device` override the
    settings'; `tool_calls` is how it calls tools.

    Raises:
        UserError: it cannot be loaded, or not be used as a student.
    """
    device = device or check_device(settings.device, field="student.device")
    model, tokenizer = load_model(source or settings.model, dtype=dtype or getattr(torch, settings.dtype))
    refuse_unsupported(model.config, settings.model)
    renderer = _checked_renderer(tokenizer, tool_calls)
    return model.to(device), tokenizer, renderer


def load_renderer(
    source: str | Path, *, tool_calls: Literal["native", "text"] = "native"
) -> tuple[Any, Renderer]:
    """The tokenizer of a student, and its checked renderer, without its weights.

    Raises:
        UserError: it cannot be loaded, or not be used as a student's.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_to_load(str(source), field="student.model"))
    except (OSError, ValueError, KeyError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"student.model: {source} cannot be loaded ({first_line}): {REMEDY}") from error
    return tokenizer, _checked_renderer(tokenizer, tool_calls)


def _checked_renderer(tokenizer: Any, tool_calls: Literal["native", "text"]) -> Renderer:
    renderer = Renderer(tokenizer, tool_calls=tool_calls)
    renderer.check()
    return renderer
