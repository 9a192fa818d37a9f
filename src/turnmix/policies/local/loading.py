"""In: where a causal language model lies. Out: the loaded model, with its tokenizer or checked renderer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from turnmix.core.errors import UserError, first_line
from turnmix.core.hub import HUB_ID, model_to_load
from turnmix.policies.local.device import check_device
from turnmix.policies.local.model_files import CONFIGURATION, check_model_files
from turnmix.policies.local.policy import refuse_unsupported
from turnmix.policies.local.settings import LocalSettings
from turnmix.rendering.refusal import ToolCalls
from turnmix.rendering.renderer import Renderer
from turnmix.rendering.vocabulary import check_embedded

REMEDY = "give the directory of a checkpoint in Hugging Face format, or a hub id that can be reached"


def load_model(
    source: str | Path, *, dtype: torch.dtype = torch.float32, field: str = "student.model"
) -> tuple[Any, Any]:
    """The model, ready to act, and the tokenizer of a checkpoint directory or a hub id.

    `field` is where the recipe names it.

    Raises:
        UserError: there is none, or it is damaged, or it is no causal language model.
    """
    location = _looked_at(model_to_load(str(source), field=field), field=field)
    try:
        # Weights of another kind are pickles, which are programs.
        model, found = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except Exception as error:  # of a damaged file each library raises what it likes
        raise _not_loaded(source, error, field=field) from error
    if missing := sorted(found["missing_keys"]):
        raise UserError(f"{field}: {source} lacks {len(missing)} weights, such as {missing[0]}: {REMEDY}")
    tokenizer = load_tokenizer(source, location=location, field=field)
    check_embedded(tokenizer, _num_embeddings(model), field=field)
    return model.eval(), tokenizer


def load_tokenizer(source: str | Path, *, location: str | None = None, field: str = "student.model") -> Any:
    """The tokenizer of a checkpoint directory or a hub id; `location` is where it lies, if that is known.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        location = location or _looked_at(model_to_load(str(source), field=field), field=field)
        return AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:
        raise _not_loaded(source, error, field=field) from error


def load_configuration(source: str | Path, *, location: str, field: str = "student.model") -> Any:
    """What a model's `config.json` says, at `location`. Raises UserError: it cannot be read."""
    try:
        return AutoConfig.from_pretrained(location, trust_remote_code=False)
    except Exception as error:
        raise _not_loaded(source, error, field=field) from error


def stop_ids_of(generation_config: Any) -> tuple[int, ...]:
    """The tokens that end a turn, as a model's own settings say.

    >>> from types import SimpleNamespace
    >>> stop_ids_of(SimpleNamespace(eos_token_id=[2, 5])), stop_ids_of(SimpleNamespace(eos_token_id=None))
    ((2, 5), ())
    """
    ends = getattr(generation_config, "eos_token_id", None)
    found = ends if isinstance(ends, (list, tuple)) else [ends]
    return tuple(each for each in found if isinstance(each, int))


def load_student(
    settings: LocalSettings,
    *,
    source: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    tool_calls: ToolCalls = "native",
    moment: datetime | None = None,
    takes_tokens: bool = True,
) -> tuple[Any, Any, Renderer]:
    """The student on its device, its tokenizer, and its checked renderer.

    `source` is where `settings.model` lies when that is a name for it; `dtype` and `device` override the
    settings'; `tool_calls` is how it calls tools; `moment` is what its template shows as now;
    `takes_tokens`: it is given prompts as tokens, as by all but a server that takes text.

    Raises:
        UserError: it cannot be loaded, or not be used as a student.
    """
    device = device or check_device(settings.device, field="student.device")
    model, tokenizer = load_model(source or settings.model, dtype=dtype or getattr(torch, settings.dtype))
    refuse_unsupported(model.config, settings.model)
    renderer = Renderer(
        tokenizer,
        tool_calls=tool_calls,
        stop_ids=stop_ids_of(model.generation_config),
        moment=moment,
        keeps_control_text=takes_tokens,
    )
    renderer.check()
    return model.to(device), tokenizer, renderer


def load_renderer(
    source: str | Path,
    *,
    tool_calls: ToolCalls = "native",
    moment: datetime | None = None,
    takes_tokens: bool = True,
) -> tuple[Any, Renderer]:
    """The tokenizer of a student, and its checked renderer, without its weights. `takes_tokens`: see
    `load_student`.

    Raises:
        UserError: it cannot be loaded, or not be used as a student's.
    """
    location = _looked_at(model_to_load(str(source), field="student.model"), field="student.model")
    tokenizer = load_tokenizer(source, location=location)
    config = load_configuration(source, location=location)
    check_embedded(tokenizer, config.get_text_config().vocab_size, field="student.model")
    try:
        generation_config = GenerationConfig.from_pretrained(location)
    except Exception:
        generation_config = GenerationConfig.from_model_config(config)
    renderer = Renderer(
        tokenizer,
        tool_calls=tool_calls,
        stop_ids=stop_ids_of(generation_config),
        moment=moment,
        keeps_control_text=takes_tokens,
    )
    renderer.check()
    return tokenizer, renderer


def _num_embeddings(model: Any) -> int:
    """Of tokens that the model both reads and writes."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return min(int(end.weight.shape[0]) for end in ends if end is not None)


def _looked_at(location: str, *, field: str) -> str:
    """The location, whose files may be read; those of a hub's model, once they are here."""
    directory = Path(location)
    if not directory.is_dir():
        held = try_to_load_from_cache(location, CONFIGURATION) if HUB_ID.fullmatch(location) else None
        if not isinstance(held, str):
            return location
        directory = Path(held).parent
    check_model_files(directory, field=field)
    return location


def _not_loaded(source: str | Path, error: Exception, *, field: str) -> UserError:
    if "trust_remote_code" in str(error):
        return UserError(
            f"{field}: {source} brings code of its own, which is not run: choose a model that transformers itself knows"
        )
    return UserError(f"{field}: {source} cannot be loaded ({first_line(error)}): {REMEDY}")
