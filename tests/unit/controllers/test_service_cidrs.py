from kutter.api.types.base import convert
from kutter.api.types.networking_v1 import ServiceCIDR
from kutter.controllers.service_cidrs import needs


def service_cidr(name, *cidrs):
    return convert(ServiceCIDR, {"metadata": {"name": name}, "spec": {"cidrs": list(cidrs)}})


def test_a_range_is_needed_by_addresses_that_lie_in_it_alone():
    going = service_cidr("going", "10.0.0.0/24", "fd00::/112")
    wider = service_cidr("wider", "10.0.0.0/16")
    assert needs(going, [going], ["10.0.0.5"]) == "10.0.0.5"
    assert needs(going, [going, wider], ["10.0.0.5"]) is None
    assert needs(going, [going, wider], ["10.0.0.5", "fd00::5"]) == "fd00::5"
    assert needs(going, [going], ["10.0.1.5"]) is None
    assert needs(going, [going, service_cidr("same", "10.0.0.0/24")], ["10.0.0.5"]) is None
