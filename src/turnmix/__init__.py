"""TurnMix: train an agent in the states it will really visit.

    run = turnmix.train("minirepo_dagger", ["iterations=2"], run="runs/first")
    print(run.summary["iterations"][-1]["resolved"])
    evaluation = turnmix.evaluate(run, output="evaluations/first")

Importing this package has no side effect and loads neither torch nor an HTTP client: each name is loaded when it is
first used.
"""

TYPE_CHECKING = False  # of another name than typing's, which would have to be loaded
if TYPE_CHECKING:
    from turnmix.analysis.stored import StoredAnalysis as StoredAnalysis
    from turnmix.analysis.stored import stored_analyses as stored_analyses
    from turnmix.analysis.table import Table as Table
    from turnmix.core.errors import InfrastructureError as InfrastructureError
    from turnmix.core.errors import PluginError as PluginError
    from turnmix.core.errors import RecipeError as RecipeError
    from turnmix.core.errors import TeacherError as TeacherError
    from turnmix.core.errors import TrainingError as TrainingError
    from turnmix.core.errors import TurnMixError as TurnMixError
    from turnmix.core.errors import UserError as UserError
    from turnmix.core.finding import Finding as Finding
    from turnmix.core.message import Message as Message
    from turnmix.core.message import ToolCall as ToolCall
    from turnmix.core.message import ToolSpecification as ToolSpecification
    from turnmix.core.settings import Settings as Settings
    from turnmix.core.task import Task as Task
    from turnmix.core.task import Workspace as Workspace
    from turnmix.core.trajectory import Action as Action
    from turnmix.core.trajectory import State as State
    from turnmix.core.trajectory import StopReason as StopReason
    from turnmix.core.trajectory import Trajectory as Trajectory
    from turnmix.core.trajectory import Turn as Turn
    from turnmix.core.transition import Transition as Transition
    from turnmix.core.verdict import Verdict as Verdict
    from turnmix.environments.environment import Environment as Environment
    from turnmix.environments.environment import HasAccidents as HasAccidents
    from turnmix.environments.environment import HasExpert as HasExpert
    from turnmix.environments.environment import HasStepKinds as HasStepKinds
    from turnmix.environments.environment import Step as Step
    from turnmix.environments.environment import TaskParts as TaskParts
    from turnmix.environments.environment import TaskSettings as TaskSettings
    from turnmix.environments.environment import TaskSource as TaskSource
    from turnmix.environments.minirepo.source import MinirepoSettings as MinirepoSettings
    from turnmix.environments.solution_outline import SolutionOutline as SolutionOutline
    from turnmix.loop.parts import Progress as Progress
    from turnmix.loop.trackers import Tracker as Tracker
    from turnmix.methods.method import Method as Method
    from turnmix.methods.method import Taught as Taught
    from turnmix.methods.teaching import teach_executed as teach_executed
    from turnmix.methods.teaching import teach_labels as teach_labels
    from turnmix.methods.teaching import teach_sampled as teach_sampled
    from turnmix.policies.accident import AccidentPolicy as AccidentPolicy
    from turnmix.policies.accident import AccidentSession as AccidentSession
    from turnmix.policies.accident import ScriptedAccident as ScriptedAccident
    from turnmix.policies.policy import Episode as Episode
    from turnmix.policies.policy import Inspectable as Inspectable
    from turnmix.policies.policy import Policy as Policy
    from turnmix.policies.policy import PolicySession as PolicySession
    from turnmix.policies.scoring import Scorer as Scorer
    from turnmix.policies.scoring import ScoreRequest as ScoreRequest
    from turnmix.policies.scoring import TokenPath as TokenPath
    from turnmix.policies.scripted import ScriptedPolicy as ScriptedPolicy
    from turnmix.policies.scripted import call_action as call_action
    from turnmix.policies.scripted import text_action as text_action
    from turnmix.policies.teacher import FrozenModel as FrozenModel
    from turnmix.policies.teacher import StudentTokens as StudentTokens
    from turnmix.policies.teacher import Teacher as Teacher
    from turnmix.policies.teacher import TeacherParts as TeacherParts
    from turnmix.policies.teacher import TeacherSettings as TeacherSettings
    from turnmix.recipe.recipe import Recipe as Recipe
    from turnmix.rollout.mixture import AggrevateMixtureSettings as AggrevateMixtureSettings
    from turnmix.rollout.mixture import DaggerMixtureSettings as DaggerMixtureSettings
    from turnmix.rollout.mixture import Mixture as Mixture
    from turnmix.rollout.mixture import MixtureSettings as MixtureSettings
    from turnmix.rollout.mixture import StudentMixtureSettings as StudentMixtureSettings
    from turnmix.rollout.mixture import TeacherMixtureSettings as TeacherMixtureSettings
    from turnmix.rollout.mixture import TeacherPrefixMixtureSettings as TeacherPrefixMixtureSettings
    from turnmix.rollout.mixture import TrajectoryMixtureSettings as TrajectoryMixtureSettings
    from turnmix.running.api import analyse as analyse
    from turnmix.running.api import compare as compare
    from turnmix.running.api import evaluate as evaluate
    from turnmix.running.api import load_recipe as load_recipe
    from turnmix.running.api import report as report
    from turnmix.running.api import sweep as sweep
    from turnmix.running.api import train as train
    from turnmix.running.reading import Run as Run
    from turnmix.running.reading import read_run as read_run
    from turnmix.running.reporter import QuietReporter as QuietReporter
    from turnmix.running.reporter import Reporter as Reporter
    from turnmix.running.run_listing import list_runs as list_runs
    from turnmix.sandboxes.sandbox import CommandResult as CommandResult
    from turnmix.sandboxes.sandbox import Sandbox as Sandbox
    from turnmix.sandboxes.settings import SandboxNeeds as SandboxNeeds
    from turnmix.sandboxes.settings import SandboxSettings as SandboxSettings
    from turnmix.scaffold.tool import Tool as Tool
    from turnmix.scaffold.tool import ToolParts as ToolParts
    from turnmix.training.objective_settings import ClippedRatioSettings as ClippedRatioSettings
    from turnmix.training.objective_settings import CrossEntropySettings as CrossEntropySettings
    from turnmix.training.objective_settings import LossParts as LossParts
    from turnmix.training.objective_settings import ObjectiveSettings as ObjectiveSettings
    from turnmix.training.objective_settings import ReverseKlSettings as ReverseKlSettings

__version__ = "0.1.0"

_ROOMS = {
    "analysis.stored": "StoredAnalysis stored_analyses",
    "analysis.table": "Table",
    "core.errors": "InfrastructureError PluginError RecipeError TeacherError TrainingError TurnMixError UserError",
    "core.finding": "Finding",
    "core.message": "Message ToolCall ToolSpecification",
    "core.settings": "Settings",
    "core.task": "Task Workspace",
    "core.trajectory": "Action State StopReason Trajectory Turn",
    "core.verdict": "Verdict",
    "core.transition": "Transition",
    "environments.environment": "Environment HasAccidents HasExpert HasStepKinds Step TaskParts TaskSettings "
    "TaskSource",
    "environments.minirepo.source": "MinirepoSettings",
    "environments.solution_outline": "SolutionOutline",
    "loop.parts": "Progress",
    "loop.trackers": "Tracker",
    "methods.method": "Method Taught",
    "methods.teaching": "teach_executed teach_labels teach_sampled",
    "policies.accident": "AccidentPolicy AccidentSession ScriptedAccident",
    "policies.policy": "Episode Inspectable Policy PolicySession",
    "policies.scoring": "ScoreRequest Scorer TokenPath",
    "policies.scripted": "ScriptedPolicy call_action text_action",
    "policies.teacher": "FrozenModel StudentTokens Teacher TeacherParts TeacherSettings",
    "recipe.recipe": "Recipe",
    "rollout.mixture": "AggrevateMixtureSettings DaggerMixtureSettings Mixture MixtureSettings StudentMixtureSettings "
    "TeacherMixtureSettings TeacherPrefixMixtureSettings TrajectoryMixtureSettings",
    "running.api": "analyse compare evaluate load_recipe report sweep train",
    "running.reading": "Run read_run",
    "running.run_listing": "list_runs",
    "running.reporter": "QuietReporter Reporter",
    "sandboxes.sandbox": "CommandResult Sandbox",
    "sandboxes.settings": "SandboxNeeds SandboxSettings",
    "scaffold.tool": "Tool ToolParts",
    "training.objective_settings": "ClippedRatioSettings CrossEntropySettings LossParts ObjectiveSettings "
    "ReverseKlSettings",
}
"""Where each public name lies. The imports above say the same to type checkers; a test holds them equal."""
_PLACES = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = list(_PLACES)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_PLACES})
