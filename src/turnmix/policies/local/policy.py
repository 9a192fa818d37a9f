"""The student in this process: a causal language model that transformers loads, acting in many trajectories.

In: a state for each trajectory of a cohort. Out: actions with their sampled token ids and log π(token) at the
temperature of sampling. Each trajectory draws from its own seed, cohorts generate in lockstep, and one worker
thread computes, so that the event loop goes on and the same seeds give the same tokens in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action, State
from turnmix.policies.local.generation import CohortGeneration, SampledTurn, TurnRequest
from turnmix.policies.local.lockstep import Lockstep, Member
from turnmix.policies.local.sampling import Sampling, turn_uniforms
from turnmix.policies.local.settings import LocalSettings
from turnmix.policies.policy import Episode
from turnmix.policies.unfinished_answer import cut_off, no_room
from turnmix.rendering.renderer import Renderer
from turnmix.rendering.stop_texts import completes_stop, stopped_answer


class LocalPolicy:
    """Acts with `model`, whose weights may change between cohorts, never during one."""

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        settings: LocalSettings,
        *,
        greedy: bool,
        name: str = "student",
    ) -> None:
        """
        Raises:
            UserError: the model's attention cannot be cached row by row.
        """
        refuse_unsupported(model.config, settings.model, field=f"{name}.model")
        self.name = name
        self._model = model
        self._renderer = renderer
        self._max_new_tokens = settings.max_new_tokens
        self._context: int | None = getattr(model.config, "max_position_embeddings", None)
        self._sampling = Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            greedy=greedy,
            vocabulary=renderer.vocabulary,
        )
        self._cohorts: dict[str, _Cohort] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{name}-generation")

    def begin(self, episode: Episode) -> LocalSession:
        """Join the episode's cohort. All members of a cohort begin before the first acts."""
        name = episode.cohort or f"alone {episode.trajectory_id}"
        if name not in self._cohorts:
            self._cohorts[name] = _Cohort(self)
        cohort = self._cohorts[name]
        member = cohort.lockstep.join(episode.trajectory_id)
        cohort.draws[member] = _Draws(seed=episode.seed, turn=episode.turns_taken)
        return LocalSession(cohort.lockstep, member, self._drop_empty_cohorts)

    async def close(self) -> None:
        await asyncio.to_thread(self._worker.shutdown)

    def new_generation(self) -> CohortGeneration:
        """A cohort's rows, none cached yet."""
        return CohortGeneration(self._model, sampling=self._sampling, stop_ids=self._renderer.stop_ids)

    async def in_worker(self, compute: Callable[[], Mapping[Member, Action]]) -> Mapping[Member, Action]:
        """What `compute` returns, computed in the one generating thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, compute)

    def act_in_all(
        self, generation: CohortGeneration, states: Mapping[Member, State], draws: Mapping[Member, _Draws]
    ) -> dict[Member, Action]:
        """One turn of every member."""
        was_training = self._model.training
        self._model.eval()
        try:
            requests = {member: self._request(state, draws[member]) for member, state in states.items()}
            sampled = generation.generate(requests)
        finally:
            self._model.train(was_training)
        return {
            member: self._action(requests[member], sampled[member], state) for member, state in states.items()
        }

    def _request(self, state: State, draws: _Draws) -> TurnRequest:
        prompt = self._renderer.prompt_ids(state)
        limit = self._max_new_tokens
        if self._context is not None:
            limit = max(0, min(limit, self._context - len(prompt)))
        draws.turn += 1
        return TurnRequest(
            prompt=prompt,
            uniforms=turn_uniforms(draws.seed, draws.turn, limit),
            is_over=self._is_over(state.form.stop),
        )

    def _is_over(self, stop: tuple[str, ...]) -> Callable[[Sequence[int]], bool] | None:
        return partial(completes_stop, stop=stop, spell=self._renderer.spelled) if stop else None

    def _action(self, request: TurnRequest, sampled: SampledTurn, state: State) -> Action:
        limit, token_ids = len(request.uniforms), sampled.token_ids
        stopped = stopped_answer(token_ids, state.form.stop, self._renderer.spelled)
        if limit == 0:
            action = no_room(self._context)
        elif stopped is not None:
            token_ids = stopped.token_ids
            action = replace(
                self._renderer.parse_text(stopped.text, state.tools),
                token_ids=token_ids,
                stop_text=stopped.stop_text,
            )
        else:
            action = self._renderer.parse(token_ids, state.tools)
            if token_ids[-1] not in self._renderer.stop_ids:
                action = cut_off(action, limit=limit)
        return replace(
            action,
            logprobs=sampled.logprobs[: len(token_ids)],
            prompt_tokens=len(request.prompt),
            completion_tokens=len(token_ids),
        )

    def _drop_empty_cohorts(self) -> None:
        # With a cohort goes its cache, which holds keys and values of the weights as they were.
        self._cohorts = {
            name: cohort for name, cohort in self._cohorts.items() if not cohort.lockstep.is_empty
        }


class LocalSession:
    """One trajectory's place in its cohort."""

    def __init__(self, lockstep: Lockstep, member: Member, after_leaving: Callable[[], None]) -> None:
        self._lockstep = lockstep
        self._member = member
        self._after_leaving = after_leaving

    async def look(self) -> None:
        """Nothing: this policy sees messages alone."""

    async def act(self, state: State) -> Action:
        """Waits until every open trajectory of the cohort waits too, then all act in one batch."""
        return await self._lockstep.act(self._member, state)

    async def close(self) -> None:
        self._lockstep.leave(self._member)
        self._after_leaving()


@dataclass(slots=True, kw_only=True)
class _Draws:
    """Where one trajectory stands in its own random numbers."""

    seed: int
    turn: int = 0


class _Cohort:
    def __init__(self, policy: LocalPolicy) -> None:
        self.lockstep = Lockstep(self._run)
        self.draws: dict[Member, _Draws] = {}
        self._policy = policy
        self._generation = policy.new_generation()

    async def _run(self, states: Mapping[Member, State], left: tuple[Member, ...]) -> Mapping[Member, Action]:
        def compute() -> Mapping[Member, Action]:
            for member in left:
                self._generation.leave(member)
            return self._policy.act_in_all(self._generation, states, self.draws)

        return await self._policy.in_worker(compute)


def refuse_unsupported(config: Any, model: str, *, field: str = "student.model") -> None:
    """Refuse what one cache of full attention with a mask of its own does not serve exactly.

    Raises:
        UserError: names what is in the way.
    """
    layer_types = set(getattr(config, "layer_types", None) or ("full_attention",))
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    reason = None
    if others := sorted(layer_types - {"full_attention"}):
        reason = f"it has layers of type {', '.join(others)}"
    elif window is not None and not getattr(config, "layer_types", None):
        reason = f"it has sliding_window={window}"
    elif config._attn_implementation not in ("sdpa", "eager"):
        reason = (
            f"it was loaded with attn_implementation={config._attn_implementation!r}, not 'sdpa' or 'eager'"
        )
    if reason:
        raise UserError(
            f"{field}: {model!r} cannot generate here: {reason}; "
            "choose a model whose layers are all full attention, such as Qwen3 or Llama, loaded with 'sdpa'"
        )
