"""A scaffold of the user's own outside of containers, whose commands run inside of them."""

from container_runtime import DEBIAN, needs_containers, settings

from own_scaffolds import AGENT, collected, command
from turnmix.core.trajectory import StopReason
from turnmix.rollout.mixture import TeacherMixture
from turnmix.sandboxes.selection import ContainerSandboxSettings

pytestmark = needs_containers


def test_a_scaffold_outside_solves_a_task_in_a_container(tmp_path):
    (tmp_path / "agent.py").write_text(AGENT)
    chosen = ContainerSandboxSettings(container=settings().model_copy(update={"image": DEBIAN, "cpus": 2.0}))
    outside = command(
        "python3 $TURNMIX_FILES/agent.py", where="outside", files=str(tmp_path), environment={"OUTSIDE": "1"}
    )
    (only,) = collected(outside, num_tasks=1, mixture=TeacherMixture(), make_sandbox=chosen.make)
    assert (only.stop_reason, only.verdict.resolved) == (StopReason.finished, True)
    assert only.turns[0].observation
