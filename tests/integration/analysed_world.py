"""The word world, which also tells sorts of steps and knows what can go wrong: for analyses without a sandbox."""

import shutil
from contextlib import closing

from word_world import Words, WordSource

from turnmix.assembly.model_location import model_location
from turnmix.policies.accident import ScriptedAccident
from turnmix.policies.scripted import call_action
from turnmix.recipe.recipe import recipe_of, recipe_yaml
from turnmix.store.run_directory import RunDirectory

RECIPE = {
    "method": "dagger",
    "tasks": {"source": "analysed_world:AnalysedWords"},
    "student": {"model": "nano-student", "cohort_size": 2, "max_new_tokens": 12},
    "scaffold": {"max_tokens": 8192},
    "rollouts": {"concurrency": 2, "accidents": {"turns": [1, 1]}},
    "evaluation": {"tasks": 3},
}


class AnalysedWords(Words):
    """Secret colours, of which accidents say wrong ones."""

    def make(self, parts):
        return AnalysedWordSource({"train": self.train, "holdout": self.holdout})


class AnalysedWordSource(WordSource):
    def step_kind(self, action):
        return "say" if action.message.tool_calls else "malformed"

    def accident(self, kind):
        word = {"breaking": "black", "harmless": "white"}.get(kind)
        return word and ScriptedAccident(kind, lambda episode, state: call_action("say", word=word))


def analysed_run(path, **changes):
    """A run as training leaves it: with one checkpoint, which is the base student's copy."""
    recipe = recipe_of({**RECIPE, **changes})
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe))) as run:
        shutil.copytree(model_location("nano-student", field="student.model"), run.checkpoint(1))
        run.record_stage("rollout", 1, {"beta": 0.6, "realised_beta": 0.5, "realised_beta_tokens": 0.25})
        run.record_stage("train", 1, {"step_losses": [1.0]})
    return path
