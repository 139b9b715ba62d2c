import asyncio
import copy
from typing import Any

from tests.unit.apiserver.admission.admission_kit import pod, refused, request
from tests.unit.apiserver.fake_reader import FakeReader

from kutter.api.errors import ApiError
from kutter.apiserver.admission.quota_charges import LimitedResource
from kutter.apiserver.admission.resource_quota import ResourceQuota

READER = FakeReader()


class Stored:
    def __init__(self, tree: dict[str, Any], revision: int) -> None:
        self.name = tree["metadata"]["name"]
        self.revision = revision
        self._tree = tree

    @property
    def bare_tree(self) -> dict[str, Any]:
        return copy.deepcopy(self._tree)


class MemoryQuotas:
    """Compare-and-write on one namespace; ``interfere`` runs before a write is decided."""

    def __init__(self, *quotas: dict[str, Any]) -> None:
        self.stored = {q["metadata"]["name"]: Stored(q, 1) for q in quotas}
        self.writes = 0
        self.interfere: list[Any] = []

    def quotas(self, namespace: str) -> list[Stored]:
        return [self.stored[name] for name in sorted(self.stored)]

    async def write(self, quota: Any, tree: dict[str, Any]) -> bool:
        await asyncio.sleep(0)
        if self.interfere:
            self.interfere.pop(0)(self)
        held = self.stored.get(quota.name)
        if held is None or held.revision != quota.revision:
            return False
        self.writes += 1
        self.stored[quota.name] = Stored(tree, quota.revision + 1)
        return True

    def change(self, name: str, **used: str) -> None:
        held = self.stored[name]
        tree = held.bare_tree
        tree["status"]["used"].update(used)
        self.stored[name] = Stored(tree, held.revision + 1)

    def used(self, name: str = "q") -> dict[str, str]:
        found: dict[str, str] = self.stored[name].bare_tree["status"]["used"]
        return found


def quota(name: str = "q", used: dict[str, str] | None = None, **hard: str) -> dict[str, Any]:
    names = {key.replace("_", "."): value for key, value in hard.items()}
    return {
        "metadata": {"name": name, "namespace": "blue"},
        "spec": {"hard": names},
        "status": {"hard": names, "used": dict.fromkeys(names, "0") if used is None else used},
    }


def plugin(*quotas: dict[str, Any], **options: Any) -> ResourceQuota:
    made = ResourceQuota(**options)
    made.store = MemoryQuotas(*quotas)
    return made


def store(made: ResourceQuota) -> MemoryQuotas:
    assert isinstance(made.store, MemoryQuotas)
    return made.store


def sized(name: str, cpu: str) -> dict[str, Any]:
    return pod(name, containers=[{"name": "c", "resources": {"requests": {"cpu": cpu}}}])


async def test_it_reserves_before_anything_is_stored() -> None:
    made = plugin(quota(pods="2", requests_cpu="1"))
    asked = request("pods", sized("a", "600m"), READER)
    await made.validate(asked)
    assert store(made).used() == {"pods": "1", "requests.cpu": "600m"}
    error = await refused(made, request("pods", sized("b", "600m"), READER))
    assert error.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, '
        "used: requests.cpu=600m, limited: requests.cpu=1"
    )


async def test_what_is_not_stored_is_given_back() -> None:
    made = plugin(quota(pods="2"))
    asked = request("pods", pod(), READER)
    await made.validate(asked)
    assert asked.reservation is not None
    await asked.reservation.settle(False)
    assert store(made).used() == {"pods": "0"}


async def test_a_recount_is_refused_while_something_is_on_its_way() -> None:
    made = plugin(quota(pods="2"))
    asked = request("pods", pod(), READER)
    await made.validate(asked)
    old = store(made).stored["q"].bare_tree

    def recount(used: dict[str, str]) -> Any:
        new = {**old, "status": {**old["status"], "used": used}}
        return request("resourcequotas/status", new, READER, operation="UPDATE", old=old)

    error = await refused(made, recount({}))
    assert (error.code, error.reason) == (409, "Conflict")
    await made.validate(recount({"pods": "2"}))
    assert asked.reservation is not None
    await asked.reservation.settle(True)
    await made.validate(recount({}))
    assert store(made).used() == {"pods": "1"}


async def test_requests_that_wait_together_share_writes() -> None:
    made = plugin(quota(pods="7"))
    asked = [request("pods", pod(f"p{n}"), READER) for n in range(20)]
    results = await asyncio.gather(*(made.validate(a) for a in asked), return_exceptions=True)
    assert sum(isinstance(r, ApiError) for r in results) == 13
    assert store(made).used() == {"pods": "7"}
    assert store(made).writes <= 2


async def test_a_lost_race_is_decided_again_on_what_is_there() -> None:
    made = plugin(quota(pods="2"))
    store(made).interfere = [lambda s: s.change("q", pods="1")]
    await made.validate(request("pods", pod(), READER))
    assert store(made).used() == {"pods": "2"}
    store(made).change("q", pods="1")
    store(made).interfere = [lambda s: s.change("q", pods="2")]
    error = await refused(made, request("pods", pod(), READER))
    assert "used: pods=2, limited: pods=2" in error.message


async def test_no_half_reservations_over_several_quotas() -> None:
    made = plugin(quota("a", pods="5"), quota("b", pods="5"))
    # "a" is written, "b" loses its race against somebody who fills it.
    store(made).interfere = [lambda s: None, lambda s: s.change("b", pods="5")]
    error = await refused(made, request("pods", pod(), READER))
    assert "exceeded quota: b" in error.message
    assert store(made).used("a") == {"pods": "0"}


async def test_a_dry_run_is_checked_and_charged_nothing() -> None:
    made = plugin(quota(pods="1"))
    asked = request("pods", pod(), READER)
    asked.dry_run = True
    await made.validate(asked)
    assert store(made).used() == {"pods": "0"}
    store(made).change("q", pods="1")
    again = request("pods", pod(), READER)
    again.dry_run = True
    await refused(made, again)


async def test_a_quota_whose_use_is_unknown_admits_nothing_it_limits() -> None:
    made = plugin(quota(used={}, pods="2"))
    error = await refused(made, request("pods", pod(), READER))
    assert error.message == 'pods "p" is forbidden: status unknown for quota: q, resources: pods'
    await made.validate(request("services", {"metadata": {"name": "s"}, "spec": {}}, READER))


async def test_updates_cost_the_difference() -> None:
    made = plugin(quota(services="5", services_nodeports="1"))

    def service(kind: str) -> dict[str, Any]:
        spec = {"type": kind, "ports": [{"port": 80}]}
        return {"metadata": {"name": "s", "resourceVersion": "7"}, "spec": spec}

    asked = request(
        "services", service("NodePort"), READER, operation="UPDATE", old=service("ClusterIP")
    )
    await made.validate(asked)
    assert store(made).used() == {"services": "0", "services.nodeports": "1"}
    same = request(
        "services", service("NodePort"), READER, operation="UPDATE", old=service("NodePort")
    )
    await made.validate(same)
    assert same.reservation is None


async def test_what_is_limited_needs_a_quota_that_covers_it() -> None:
    limited = [LimitedResource("pods", match_contains=("requests.cpu",))]
    made = plugin(limited=limited)
    await made.validate(request("pods", pod(), READER))
    error = await refused(made, request("pods", sized("p", "1"), READER))
    assert error.message == ('pods "p" is forbidden: insufficient quota to consume: requests.cpu')


async def test_events_and_subresources_cost_nothing() -> None:
    made = plugin(quota(pods="0"))
    assert not made.wants("events", "CREATE")
    assert not made.wants("pods/eviction", "CREATE")
    assert not made.wants("pods", "UPDATE")
    assert not made.wants("pods", "DELETE")
    assert made.wants("pods/resize", "UPDATE")
    assert made.wants("foos.example.com", "CREATE")
