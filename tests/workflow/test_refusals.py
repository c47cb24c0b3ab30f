from __future__ import annotations
import json
import pytest
from tests.workflow.jobs import check_end
from tests.workflow.scripts import REFUSALS
from tests.workflow.world import World

@pytest.mark.parametrize(("script","env"), REFUSALS)
def test_smoke(script, env) -> None:
    with World(env) as world:
        ups = script(world)
        (report,) = check_end(world, *ups)
        for b in report["batches"]: print({k:b[k] for k in ("shard","attempt","status","requests","succeeded","failed")})
        print(report["status"], report["requests"], report["errors"][:2], world.calls, len(world.invocations), [e.events for e in world.executions.values()])
