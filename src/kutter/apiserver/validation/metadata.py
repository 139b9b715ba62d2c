"""What holds for the metadata of every kind.

Rules and texts of upstream's ``apimachinery/pkg/api/validation/objectmeta.go`` and
``apis/meta/v1/validation``.
"""

from __future__ import annotations

from typing import Any

from kutter.api.errors import FieldError, forbidden_field, invalid, required, too_long
from kutter.apiserver.validation import text
from kutter.apiserver.validation.equality import equal

Tree = dict[str, Any]

IMMUTABLE = "field is immutable"
# How upstream writes the path of what is wrong with an object as a whole.
WHOLE = "[]"
ANNOTATIONS_MAX_BYTES = 256 * 1024
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def validate_metadata(
    metadata: Tree,
    *,
    namespaced: bool,
    name_check: text.Check = text.dns_subdomain,
    known_finalizers: bool = True,
    common: list[FieldError] | None = None,
) -> list[FieldError]:
    """The metadata of a new object, its name already generated.

    ``known_finalizers``: one without a domain has to be the system's; extensions are free.
    ``common``: what :func:`validate_common` says, if it was asked already.
    """
    errors: list[FieldError] = []
    generate_name = metadata.get("generateName")
    if generate_name:
        # A generated name continues after the prefix: a trailing dash is fine there.
        errors += checked(
            "metadata.generateName", generate_name, name_check, masked=mask_prefix(generate_name)
        )
    name = metadata.get("name")
    if not name:
        errors.append(required("metadata.name", "name or generateName is required"))
    else:
        problems = name_check(name)
        if problems:
            errors += [invalid("metadata.name", name, p) for p in problems]
    namespace = metadata.get("namespace")
    if namespaced:
        if not namespace:
            errors.append(required("metadata.namespace"))
        else:
            errors += checked("metadata.namespace", namespace, text.dns_label)
    elif namespace:
        errors.append(forbidden_field("metadata.namespace", "not allowed on this type"))
    return errors + (validate_common(metadata, known_finalizers) if common is None else common)


def validate_metadata_update(
    new: Tree, old: Tree, *, known_finalizers: bool = True, common: list[FieldError] | None = None
) -> list[FieldError]:
    """What an update may not do to metadata. ``common``: as in :func:`validate_metadata`."""
    errors: list[FieldError] = []
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            listed = ", ".join(f'"{f}"' for f in extra)
            errors.append(
                forbidden_field(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, found new "
                    f"finalizers []string{{{listed}}}",
                )
            )
    new_generation, old_generation = new.get("generation") or 0, old.get("generation") or 0
    if new_generation < old_generation:
        errors.append(invalid("metadata.generation", new_generation, "must not be decremented"))
    for field in (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        if new.get(field) != old.get(field) and (new.get(field) or old.get(field)):
            errors.append(invalid(f"metadata.{field}", new.get(field), IMMUTABLE))
    return errors + (validate_common(new, known_finalizers) if common is None else common)


def validate_common(metadata: Tree, known_finalizers: bool = True) -> list[FieldError]:
    """What may be wrong with labels, annotations, owners and finalizers at any time."""
    errors: list[FieldError] = []
    generation = metadata.get("generation")
    if generation and generation < 0:
        errors.append(invalid("metadata.generation", generation, NEGATIVE))
    labels = metadata.get("labels")
    if labels:
        errors += validate_labels(labels, "metadata.labels")
    annotations = metadata.get("annotations")
    if annotations:
        errors += validate_annotations(annotations, "metadata.annotations")
    owners = metadata.get("ownerReferences")
    if owners:
        errors += _owners(owners)
    finalizers = metadata.get("finalizers")
    if finalizers:
        errors += _finalizers(finalizers, known_finalizers)
    return errors


NEGATIVE = "must be greater than or equal to 0"


def _owners(owners: list[Tree]) -> list[FieldError]:
    path = "metadata.ownerReferences"
    errors: list[FieldError] = []
    first = ""
    for owner in owners:
        api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        group, _, version = api_version.partition("/")
        # A version alone is one of the core group; more than one slash makes none.
        if not (version or group) or "/" in version or api_version.endswith("/"):
            errors.append(invalid(f"{path}.apiVersion", api_version, "version must not be empty"))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                errors.append(
                    invalid(f"{path}.{field}", owner.get(field) or "", "must not be empty")
                )
        if api_version == "v1" and kind == "Event":
            errors.append(invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            current = f"{kind}/{owner.get('name', '')}"
            if first:
                errors.append(
                    invalid(
                        path,
                        owners,
                        'Only one reference can have Controller set to true. Found "true" in '
                        f"references for {first} and {current}",
                    )
                )
            else:
                first = current
    return errors


def _finalizers(finalizers: list[str], known: bool) -> list[FieldError]:
    path = "metadata.finalizers"
    errors: list[FieldError] = []
    for finalizer in finalizers:
        errors += checked(path, finalizer, text.qualified_name)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        errors.append(
            invalid(
                path,
                finalizers,
                "finalizer orphan and foregroundDeletion cannot be both set",
            )
        )
    for i, finalizer in enumerate(finalizers if known else ()):
        errors += validate_finalizer_standing(finalizer, f"{path}[{i}]")
    return errors


def validate_finalizer_standing(finalizer: str, path: str) -> list[FieldError]:
    """An unqualified finalizer must be one of the three the system knows."""
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        return [
            invalid(
                path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
        ]
    return []


def validate_labels(labels: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in labels.items():
        problems = text.qualified_name(key)
        if problems:
            errors += [invalid(path, key, p) for p in problems]
        problems = text.label_value(value)
        if problems:
            errors += [invalid(path, value, p) for p in problems]
    return errors


def validate_annotations(annotations: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    for key, value in annotations.items():
        problems = text.qualified_name(key.lower())
        if problems:
            errors += [invalid(path, key, p) for p in problems]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_MAX_BYTES:
        errors.append(too_long(path, ANNOTATIONS_MAX_BYTES))
    return errors


# What the metadata of a claim's template may not hold, in upstream's order and spelling.
_NOT_IN_TEMPLATES = (
    ("name", "name"),
    ("generateName", "generateName"),
    ("namespace", "namespace"),
    ("selfLink", "selfLink"),
    ("uid", "uID"),
    ("resourceVersion", "resourceVersion"),
    ("generation", "generation"),
    ("creationTimestamp", "creationTimestamp"),
    ("deletionTimestamp", "deletionTimestamp"),
    ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
    ("ownerReferences", "ownerReferences"),
    ("finalizers", "finalizers"),
    ("managedFields", "managedFields"),
)


def validate_template_metadata(metadata: Tree, path: str) -> list[FieldError]:
    """The metadata of what is made from a template: annotations and labels, and nothing else."""
    errors = validate_annotations(metadata.get("annotations") or {}, f"{path}.annotations")
    errors += validate_labels(metadata.get("labels") or {}, f"{path}.labels")
    for field, shown in _NOT_IN_TEMPLATES:
        if metadata.get(field):
            errors.append(forbidden_field(f"{path}.{shown}", "cannot be set"))
    return errors


def validate_label_selector(
    selector: Tree | None, path: str, *, check_values: bool = True
) -> list[FieldError]:
    if not selector:
        return []
    errors = validate_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for i, requirement in enumerate(selector.get("matchExpressions") or ()):
        errors += _requirement(requirement, f"{path}.matchExpressions[{i}]", check_values)
    return errors


def _requirement(requirement: Tree, path: str, check_values: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    operator, values = requirement.get("operator"), requirement.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(
                required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.append(
                forbidden_field(
                    f"{path}.values",
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                )
            )
    else:
        errors.append(invalid(f"{path}.operator", operator or "", "not a valid selector operator"))
    errors += checked(f"{path}.key", requirement.get("key") or "", text.qualified_name)
    if check_values:
        for i, value in enumerate(values):
            errors += checked(f"{path}.values[{i}]", value, text.label_value)
    return errors


def checked(
    path: str, value: str, check: text.Check, *, masked: str | None = None
) -> list[FieldError]:
    """One error per problem ``check`` finds; ``masked`` is checked in the value's place."""
    problems = check(value if masked is None else masked)
    return [invalid(path, value, p) for p in problems] if problems else []


def mask_prefix(prefix: str) -> str:
    """A name prefix as it may be checked: a trailing dash stands for what follows."""
    return prefix[:-2] + "a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def immutable(new: Any, old: Any, path: str) -> list[FieldError]:
    return [] if equal(new, old) else [invalid(path, new, IMMUTABLE)]


def non_negative(value: int | None, path: str) -> list[FieldError]:
    return [invalid(path, value, NEGATIVE)] if value is not None and value < 0 else []
