"""Who a container's process runs as: the image's accounts and the caller's wishes.

Rules are CRI's (https://github.com/kubernetes/cri-api, LinuxContainerSecurityContext) and
Docker's for the image's ``user[:group]``. Pure: callers bring the files' text.
"""

from __future__ import annotations

from dataclasses import dataclass

from kutter.runtime.cri import CreateContainerError, SecurityContext


@dataclass(frozen=True, slots=True)
class ResolvedUser:
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str = "/"


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    gid: int
    members: tuple[str, ...]


def parse_accounts(text: str) -> list[Account]:
    """passwd(5); broken lines are left out."""
    accounts = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            accounts.append(Account(fields[0], int(fields[2]), int(fields[3]), fields[5]))
    return accounts


def parse_groups(text: str) -> list[Group]:
    """group(5); broken lines are left out."""
    groups = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            members = tuple(name for name in fields[3].split(",") if name)
            groups.append(Group(fields[0], int(fields[2]), members))
    return groups


def resolve_user(
    image_user: str, security: SecurityContext, passwd: str, group: str
) -> ResolvedUser:
    """Pure. Raises CreateContainerError when a name is unknown."""
    accounts, groups = parse_accounts(passwd), parse_groups(group)
    image_name, _, image_group = image_user.partition(":")
    wanted, wanted_group = image_name, image_group
    if security.run_as_user is not None:
        wanted, wanted_group = str(security.run_as_user), ""
    elif security.run_as_username:
        wanted, wanted_group = security.run_as_username, ""
    account = _find_account(wanted or "0", accounts)
    uid = account.uid if account else int(wanted or "0")
    gid = account.gid if account else 0
    if security.run_as_group is not None:
        gid = security.run_as_group
    elif wanted_group:
        gid = _find_group(wanted_group, groups)
    extra = set(security.supplemental_groups)
    if account is not None and security.supplemental_groups_policy != "Strict":
        extra |= {entry.gid for entry in groups if account.name in entry.members}
    return ResolvedUser(uid, gid, tuple(sorted(extra)), account.home if account else "/")


def _find_account(wanted: str, accounts: list[Account]) -> Account | None:
    for account in accounts:
        if account.name == wanted or (wanted.isdigit() and account.uid == int(wanted)):
            return account
    if not wanted.isdigit():
        raise CreateContainerError(
            f"unable to find user {wanted}: no matching entries in passwd file"
        )
    return None


def _find_group(wanted: str, groups: list[Group]) -> int:
    for group in groups:
        if group.name == wanted:
            return group.gid
    if wanted.isdigit():
        return int(wanted)
    raise CreateContainerError(f"unable to find group {wanted}: no matching entries in group file")
