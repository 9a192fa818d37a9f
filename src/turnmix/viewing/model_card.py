"""What a run made, as the `README.md` of a model: a model card, as model hubs show it.

In: a run's recipe and summary. Out: Markdown under a YAML head. Whatever the recipe says is shown as text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

from turnmix import __version__
from turnmix.core.printable import printable_line
from turnmix.viewing.report import evaluation_text, unfinished_text


def model_card(
    recipe: Mapping[str, Any],
    *,
    summary: Mapping[str, Any],
    iteration: int,
    name: str,
    is_adapter: bool = False,
    is_imported: bool = False,
) -> str:
    """
    recipe: what of it may be published
    iteration: whose checkpoint it is
    name: of the model
    is_adapter: it is a LoRA adapter, which lies alone
    is_imported: it learned trajectories from elsewhere
    """
    from huggingface_hub import ModelCardData

    base = _said(recipe, "student.model")
    head = ModelCardData(
        base_model=base if "/" in base and not _is_path(base) else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["turnmix", *filter(None, [_said(recipe, "method")]), "agent", "tool-use"],
    ).to_yaml()
    lines = [
        f"# {_text(name)}",
        "",
        _told(recipe, iteration, is_imported=is_imported),
        "",
        "## Results",
        "",
        *_results(summary, iteration),
        "",
        "## Use",
        "",
        *_use(name, is_adapter=is_adapter, base=_model_name(base)),
        "",
        _expected(recipe, is_imported=is_imported),
        "",
        "## Recipe",
        "",
    ]
    settings = textwrap.indent(
        yaml.safe_dump(dict(recipe), sort_keys=False, default_flow_style=None, width=100), "    "
    )
    return f"---\n{head.strip()}\n---\n\n" + "\n".join([*lines, settings])


def _told(recipe: Mapping[str, Any], iteration: int, *, is_imported: bool) -> str:
    """What was trained, and how, in a sentence or two."""
    told = (
        f"{_code(_model_name(_said(recipe, 'student.model')))} after {iteration} of "
        f"{_code(_said(recipe, 'iterations'))} iterations of {_code(_said(recipe, 'method'))}"
    )
    teacher = _model_name(_said(recipe, "teacher.model")) or _said(recipe, "teacher.kind")
    if is_imported:
        told += ", on trajectories from elsewhere"
    else:
        told += f", taught by {_code(teacher)}" if teacher else ""
        told += f", on tasks of {_code(_said(recipe, 'tasks.source'))}"
    return f"{told}, seed {_code(_said(recipe, 'seed'))}. It was trained by TurnMix {__version__}."


def _expected(recipe: Mapping[str, Any], *, is_imported: bool) -> str:
    if is_imported:
        return "It expects the tools and prompts of the trajectories that it learned: other tools are other tasks."
    tools = ", ".join(map(_code, _tool_names(recipe)))
    expected = f"the tools {tools} and the prompt" if tools else "the tools and the prompt"
    return (
        f"It was trained with {expected} of the recipe below, and expects them: other tools are other tasks."
    )


def _results(summary: Mapping[str, Any], iteration: int) -> Iterator[str]:
    """Base and checkpoint, as the run measured them: greedily, alone, on holdout tasks."""
    figures = {"base student": summary.get("base")}
    for each in summary["iterations"]:
        if each["iteration"] == iteration:
            figures["this model"] = each.get("eval")
    measured = {who: found for who, found in figures.items() if found is not None}
    if not measured:
        yield "The run holds no evaluation of it."
        return
    yield "| holdout tasks, greedy, alone | resolved (95 % interval) |"
    yield "|---|---|"
    for who, found in measured.items():
        yield f"| {who} | {evaluation_text(found)}{unfinished_text(found)} |"


def _use(name: str, *, is_adapter: bool, base: str) -> Iterator[str]:
    if is_adapter:
        yield "    from peft import PeftModel"
        yield "    from transformers import AutoModelForCausalLM"
        yield ""
        yield f"    base = AutoModelForCausalLM.from_pretrained({printable_line(base)!r})"
        yield f"    model = PeftModel.from_pretrained(base, {printable_line(name)!r})"
        return
    yield "    from transformers import AutoModelForCausalLM, AutoTokenizer"
    yield ""
    yield f"    tokenizer = AutoTokenizer.from_pretrained({printable_line(name)!r})"
    yield f"    model = AutoModelForCausalLM.from_pretrained({printable_line(name)!r})"


def _tool_names(recipe: Mapping[str, Any]) -> Iterator[str]:
    tools = _at(recipe, "scaffold.tools")
    for tool in tools if isinstance(tools, list) else ():
        yield str(tool.get("kind") if isinstance(tool, Mapping) else tool)


def _at(recipe: Any, name: str) -> Any:
    for part in name.split("."):
        recipe = recipe.get(part) if isinstance(recipe, Mapping) else None
    return recipe


def _said(recipe: Mapping[str, Any], name: str) -> str:
    """What a recipe says; it may come from elsewhere, and say nothing."""
    value = _at(recipe, name)
    return "" if value is None or isinstance(value, Mapping) else printable_line(str(value))


def _text(name: str) -> str:
    """One line of Markdown that is shown as it is written."""
    return re.sub(r"([\\`*_\[\]<>&])", r"\\\1", printable_line(name))


def _code(text: Any) -> str:
    return f"`{printable_line(str(text)).replace('`', '')}`"


def _model_name(model: str) -> str:
    """Of a path its last part: the others are those of somebody's machine."""
    return PurePath(model).name if _is_path(model) else model


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1
