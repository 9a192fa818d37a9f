"""Can the student and the teacher of a recipe give what its objective needs, its data and rollouts what they say?"""

from __future__ import annotations

from turnmix.methods.registry import known_method
from turnmix.policies.server.settings import GIVES_TOKENS
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.policies.teacher import TeacherSettings
from turnmix.recipe.sections import AccidentSettings, DataSettings
from turnmix.training.objective_settings import ObjectiveSettings


def check_needs(
    *, method: str, objective: ObjectiveSettings, student: StudentSettings, teacher: TeacherSettings
) -> None:
    """Raise ValueError: one of them cannot. `method`: as the recipe names it."""
    server, top_p = student.server, student.top_p
    if objective.learns_from_samples and server is not None and not GIVES_TOKENS[server.engine]:
        raise ValueError(
            f"student.server.engine: {server.engine!r}: {method} learns from the student's own tokens "
            "and their log-probabilities, which this engine does not return: use vllm, leave "
            "student.server out, or choose a method that learns from text, such as dagger"
        )
    if top_p != 1 and (objective.has_ratio or objective.needs_scores):
        raise ValueError(
            f"student.top_p: {top_p}: {method} weighs tokens by how likely they were, which holds for "
            "tokens sampled from all of them, at any temperature: leave student.top_p out, which is 1"
        )
    needs_teacher = objective.needs_scores or objective.runs_teacher
    if needs_teacher and not (teacher.gives_logprobs or teacher.gives_logits):
        raise ValueError(
            f"teacher.kind: {teacher.kind!r}: {method} needs the teacher's log-probabilities of the student's "
            f"tokens, and the {teacher.title} has none: set teacher.kind to local and name a teacher.model, give "
            "an endpoint that returns prompt_logprobs, or choose a method that learns from the teacher's "
            "text, such as dagger"
        )
    if objective.runs_teacher:
        estimate = getattr(objective, "estimate", None)
        name, value, fix = (
            ("objective.kind", objective.kind, "choose another objective")
            if estimate is None
            else ("objective.estimate", estimate, "set objective.estimate to sampled")
        )
        if not teacher.gives_logits:
            raise ValueError(
                f"{name}: {value!r}: needs all of the teacher's logits, which the "
                f"{teacher.title} does not give: set teacher.kind to local and name a "
                f"teacher.model, or {fix}"
            )
        if (here := teacher.model_here) is not None and here.device != student.device:
            raise ValueError(
                f"teacher.device: {here.device!r}: with {name} {value} the teacher runs "
                f"beside the student: set it to {student.device!r}"
            )


def check_imported(*, method: str, data: DataSettings) -> None:
    """What comes from elsewhere is taught as it was executed. Raises ValueError."""
    if data.messages is None and data.tools is not None:
        raise ValueError(
            f"data.tools: {data.tools!r}: describes tools of data.messages, which is not given: give it, or "
            "leave data.tools out"
        )
    known = known_method(method)
    is_taught_as_executed = known is None or (known.mixture.kind == "teacher" and not known.label)
    if data.messages is not None and not is_taught_as_executed:
        raise ValueError(
            f"data.messages: {method} learns in states that its student visits, which no file holds: leave it "
            "out, or set method to sft"
        )


def check_accidents(accidents: AccidentSettings, *, data: DataSettings, calls_as_text: bool) -> None:
    """Accidents can happen, and look as the student's own actions do. Raises ValueError."""
    if accidents.kind == "none":
        return
    told = f"rollouts.accidents.kind: {accidents.kind!r}"
    if data.messages is not None:
        raise ValueError(f"{told}: nothing is rolled out where data.messages is given: leave one of them out")
    if calls_as_text:
        raise ValueError(
            f"{told}: accidents call tools natively, and scaffold.tool_calls is text: leave it at native"
        )
