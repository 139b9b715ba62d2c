"""Patches: JSON Patch, JSON Merge Patch, strategic merge patch, and what apply computes.

Laws: inputs are never changed. A result shares the parts nobody touched with the object patched,
and shares nothing with the patch, so that an object may be owned and changed after patching while
the patch is kept for another try.
"""

from kutter.api.patch.errors import PatchError
from kutter.api.patch.json_patch import apply_json_patch
from kutter.api.patch.merge_patch import apply_merge_patch
from kutter.api.patch.strategic import apply_strategic_patch
from kutter.api.patch.three_way import plan_apply, plan_change

__all__ = [
    "PatchError",
    "apply_json_patch",
    "apply_merge_patch",
    "apply_strategic_patch",
    "plan_apply",
    "plan_change",
]
