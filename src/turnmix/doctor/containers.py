"""Can sandboxes be made here, how many at once, and are the images of the tasks here?"""

from __future__ import annotations

from collections.abc import Iterator

from turnmix.assembly.descriptor_need import check_descriptors, most_sandboxes
from turnmix.core.doors import findings_of
from turnmix.core.errors import UserError
from turnmix.core.file_descriptors import given_limit, limit_text, open_limit
from turnmix.core.finding import Finding
from turnmix.recipe.recipe import Recipe
from turnmix.sandboxes.container.engine import engine_for
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.selection import ContainerSandboxSettings

ANSWER_SECONDS = 5.0
GIGABYTES_OF_IMAGE = 3.0
"""Of one image of SWE-bench and its kin beyond the layers that it shares: a rough mean, to be told as such."""


def check_containers(recipe: Recipe) -> Iterator[Finding]:
    if not recipe.acts:
        return
    settings = recipe.sandbox
    if not recipe.tasks.needs_sandbox:
        yield Finding(subject="runtime", passed=True, detail="these tasks need none")
        return
    if isinstance(settings, ContainerSandboxSettings):
        quick = settings.container.model_copy(update={"start_timeout": ANSWER_SECONDS})
        settings = settings.model_copy(update={"container": quick})
    try:
        findings = findings_of(settings)
    except UserError as error:
        yield Finding(subject="runtime", passed=False, detail=str(error))
        return
    yield from findings
    if any(finding.passed is False for finding in findings):
        return
    yield Finding(subject="runtime", passed=True, detail=f"{settings.kind}: sandboxes can be made")
    yield _descriptors(recipe)
    if isinstance(settings, ContainerSandboxSettings):
        yield from _image_findings(recipe, settings.container)


def _descriptors(recipe: Recipe) -> Finding:
    """A command has as many as it is allowed to; a shell shows the limit that it started with."""
    try:
        check_descriptors(recipe)
    except UserError as error:
        return Finding(subject="descriptors", passed=False, detail=str(error))
    raised = f", raised from {given_limit():,}" if given_limit() < open_limit() else ""
    detail = (
        f"{limit_text()}{raised}: enough for {most_sandboxes(recipe):,} sandboxes at once; "
        f"rollouts.concurrency = {recipe.rollouts.concurrency}"
    )
    return Finding(subject="descriptors", passed=True, detail=detail)


def _image_findings(recipe: Recipe, settings: ContainerSettings) -> Iterator[Finding]:
    wanted = {*recipe.tasks.container_images(), *filter(None, [settings.image])}
    if not wanted:
        return
    here = {tag for image in engine_for(settings).api.images() for tag in image.get("RepoTags") or ()}
    missing = sorted(image for image in wanted if _full(image) not in {_full(tag) for tag in here})
    detail = f"{len(wanted) - len(missing):,} of {len(wanted):,} images are here"
    if not missing:
        yield Finding(subject="images", passed=True, detail=detail)
    elif settings.pull == "never":
        remedy = "sandbox.container.pull = never: set it to missing, or fetch them as docker pull does"
        yield Finding(subject="images", passed=False, detail=f"{detail}, not {missing[0]}; {remedy}")
    else:
        size = len(missing) * GIGABYTES_OF_IMAGE
        remedy = (
            f"the others, some {size:,.0f} GB, are fetched when needed, or by turnmix tasks prepare --pull"
        )
        yield Finding(subject="images", passed=None, detail=f"{detail}; {remedy}")


def _full(image: str) -> str:
    """
    >>> _full("swebench/x"), _full("docker.io/swebench/x:latest"), _full("localhost/a:1")
    ('swebench/x:latest', 'swebench/x:latest', 'localhost/a:1')
    """
    name = image.removeprefix("docker.io/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
