"""What a scaffold's command finds in its environment. In: a session's address, and files. Out: variables."""

from __future__ import annotations

from turnmix.gateway.scaffolds.work import MODEL
from turnmix.gateway.serving.sessions import OpenedSession

RUN_URL = "TURNMIX_RUN_URL"
"""Where a command is sent that is to run in the task's sandbox."""
KEY = "OPENAI_API_KEY"
"""The session's key, which that needs too."""


def scaffold_variables(
    session: OpenedSession, *, task: str, report: str, files: str | None
) -> dict[str, str]:
    """`task`: the path of the JSON file that says the task; `report`: of the file where a report may be left; `files`:
    of the scaffold's own."""
    variables = {
        "OPENAI_BASE_URL": session.base_url,
        "OPENAI_API_BASE": session.base_url,
        KEY: session.key,
        "ANTHROPIC_BASE_URL": session.anthropic_base_url,
        "ANTHROPIC_API_KEY": session.key,
        RUN_URL: f"{session.session_url}/run",
        "TURNMIX_MODEL": MODEL,
        "TURNMIX_TASK": task,
        "TURNMIX_REPORT": report,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    return variables if files is None else {**variables, "TURNMIX_FILES": files}
