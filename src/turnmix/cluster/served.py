"""A student behind a server that was given: workers ask it themselves, as the driver found it.

In: the driver's policy, whose server is open and tried. Out: what a worker makes the same policy of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from turnmix.assembly.served_student import load_served_student
from turnmix.assembly.server import ServedAlone, make_student_server
from turnmix.assembly.student import student_location
from turnmix.assembly.token_counter import StudentTokenCounter
from turnmix.policies.policy import Policy
from turnmix.policies.server.policy import ServerPolicy
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.check import check_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SentServed:
    """Who acts, as a worker is told."""

    model: str
    """Its name at the server, by which the weights of now are asked."""
    context: int | None
    greedy: bool

    @classmethod
    def of(cls, policy: Policy) -> SentServed | None:
        """None: another kind of policy."""
        served = policy.policy if isinstance(policy, ServedAlone) else policy
        if not isinstance(served, ServerPolicy):
            return None
        return cls(model=served.served_model, context=served.context, greedy=served.greedy)

    def opened(self, recipe: Recipe, moment: datetime | None) -> tuple[Policy, StudentTokenCounter]:
        """On a worker. Raises UserError: the student's tokenizer is not there."""
        from turnmix.policies.server.student_server import StudentServer

        student = load_served_student(recipe, location=student_location(recipe.student), moment=moment)
        check_tools(student.renderer, recipe.offered_tools)
        server = make_student_server(recipe, student)
        assert isinstance(server, StudentServer)
        server.join(model=self.model, context=self.context)
        return server.policy(greedy=self.greedy), StudentTokenCounter(student.renderer, student.tokenizer)
