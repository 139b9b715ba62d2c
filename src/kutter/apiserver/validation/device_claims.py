"""What a claim says it needs: requests for devices, constraints between them, configuration."""

from __future__ import annotations

from functools import partial

from kutter.api.errors import FieldError, forbidden_field, invalid, not_supported, required
from kutter.apiserver.ports import Reader, Tree
from kutter.apiserver.validation import text
from kutter.apiserver.validation.device_selectors import check_selectors
from kutter.apiserver.validation.devices import (
    CONFIG_LIMIT,
    Errors,
    check_configuration,
    check_fully_qualified_name,
    check_label,
    check_list,
    check_toleration,
    itself,
)
from kutter.apiserver.validation.metadata import checked

REQUESTS_LIMIT = 32
_CONSTRAINTS_LIMIT = 32
_ALTERNATIVES_LIMIT = 8
_ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_MODES = ["All", "ExactCount"]
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
_NOT_A_REQUEST = (
    "must be the name of a request in the claim or the name of a request and a subrequest "
    "separated by '/'"
)


class RequestNames:
    """The requests of a claim and their alternatives, as other parts of it refer to them."""

    def __init__(self, devices: Tree) -> None:
        self._names: set[str] = set()
        for request in devices.get("requests") or ():
            name = request.get("name") or ""
            # The last one of a name stands for all of them, as upstream has it.
            self._names = {known for known in self._names if not known.startswith(f"{name}/")}
            self._names.add(name)
            for alternative in request.get("firstAvailable") or ():
                self._names.add(f"{name}/{alternative.get('name') or ''}")

    def check(self, errors: Errors, name: str, path: str) -> None:
        """``name`` refers to one of them."""
        parts = name.split("/")
        if len(parts) > 2:
            errors.append(invalid(path, name, _NOT_A_REQUEST))
            return
        for part in parts:
            check_label(errors, part, path)
        if name not in self._names:
            errors.append(invalid(path, name, _NOT_A_REQUEST))

    def check_all(self, errors: Errors, listed: list[str], path: str) -> None:
        check_list(errors, listed, REQUESTS_LIMIT, self.check, path, key=itself)


def check_claim_spec(spec: Tree, path: str) -> list[FieldError]:
    errors: Errors = []
    devices, here = spec.get("devices") or {}, f"{path}.devices"
    names = RequestNames(devices)
    requests = devices.get("requests") or []
    check_list(errors, requests, REQUESTS_LIMIT, _request, f"{here}.requests", key=_name)
    constraints = devices.get("constraints") or []
    check = partial(_constraint, names)
    check_list(errors, constraints, _CONSTRAINTS_LIMIT, check, f"{here}.constraints")
    check = partial(check_claim_configuration, names)
    check_list(errors, devices.get("config") or [], CONFIG_LIMIT, check, f"{here}.config")
    return errors


def _name(tree: Tree) -> str:
    return tree.get("name") or ""


def _request(errors: Errors, request: Tree, path: str) -> None:
    check_label(errors, _name(request), f"{path}.name")
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is None and not alternatives:
        errors.append(required(path, _ONE_OF))
    elif exactly is not None and alternatives:
        errors.append(invalid(path, None, f"{_ONE_OF}, but multiple fields are set"))
    elif exactly is not None:
        _device_request(errors, exactly, f"{path}.exactly")
    else:
        here = f"{path}.firstAvailable"
        check_list(errors, alternatives, _ALTERNATIVES_LIMIT, _alternative, here, key=_name)


def _alternative(errors: Errors, request: Tree, path: str) -> None:
    check_label(errors, _name(request), f"{path}.name")
    _device_request(errors, request, path)


def _device_request(errors: Errors, request: Tree, path: str) -> None:
    device_class = request.get("deviceClassName") or ""
    if device_class:
        errors += checked(f"{path}.deviceClassName", device_class, text.dns_subdomain)
    else:
        errors.append(required(f"{path}.deviceClassName"))
    check_selectors(errors, request.get("selectors") or [], f"{path}.selectors")
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All":
        if count:
            detail = f"must not be specified when allocationMode is '{mode}'"
            errors.append(invalid(f"{path}.count", count, detail))
    elif mode == "ExactCount":
        if count <= 0:
            errors.append(invalid(f"{path}.count", count, "must be greater than zero"))
    else:
        errors.append(not_supported(f"{path}.allocationMode", mode, _MODES))
    for i, toleration in enumerate(request.get("tolerations") or ()):
        check_toleration(errors, toleration, f"{path}.tolerations[{i}]")


def _constraint(names: RequestNames, errors: Errors, constraint: Tree, path: str) -> None:
    names.check_all(errors, constraint.get("requests") or [], f"{path}.requests")
    for field in ("matchAttribute", "distinctAttribute"):
        attribute = constraint.get(field)
        if attribute is not None:
            check_fully_qualified_name(errors, attribute, f"{path}.{field}")
            return
    # Upstream's words, although none is set.
    detail = (
        'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields '
        "are set"
    )
    errors.append(required(path, detail))


def check_claim_configuration(names: RequestNames, errors: Errors, config: Tree, path: str) -> None:
    names.check_all(errors, config.get("requests") or [], f"{path}.requests")
    check_configuration(errors, config, path)


def check_admin_access(reader: Reader, namespace: str, asking: list[bool], path: str) -> Errors:
    """Access to devices others use is for namespaces an administrator has marked.

    ``asking``: which of the items at ``path`` ask for it.
    """
    if True not in asking:
        return []
    labels = reader.labels("namespaces", "", namespace) or {}
    if labels.get(_ADMIN_LABEL) == "true":
        return []
    detail = (
        f"admin access to devices requires the `{_ADMIN_LABEL}: true` label on the containing "
        "namespace"
    )
    return [forbidden_field(f"{path}[{asking.index(True)}].adminAccess", detail)]
