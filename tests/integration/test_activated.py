"""An image's own environment, activated in a sandbox of each kind."""

import asyncio

from scaffold_in_sandbox import any_sandbox, new_sandbox  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.environments.repositories.image.activation import ActivatedSandbox


def test_what_is_activated_holds_in_every_command_also_where_functions_are_exported():
    activation = "module() { :; }; export -f module; export FRUIT='fig tree'; export PATH=/opt/own/bin:$PATH"

    async def run():
        sandbox = ActivatedSandbox(new_sandbox(), activation=activation)
        try:
            await sandbox.start()
            return await sandbox.run('echo "$FRUIT ${PATH%%:*}"')
        finally:
            await sandbox.stop()

    assert asyncio.run(run()).output == b"fig tree /opt/own/bin\n"
