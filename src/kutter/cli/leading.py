"""The connection flags, by name: read before a command is known, so nothing is imported here."""

from __future__ import annotations

#: Name and meaning of each flag that takes a value.
VALUE_FLAGS: tuple[tuple[str, str], ...] = (
    ("kubeconfig", "the kubeconfig file to use"),
    ("context", "the context of the kubeconfig to use"),
    ("cluster", "the cluster of the kubeconfig to use"),
    ("user", "the user of the kubeconfig to use"),
    ("token", "bearer token"),
    ("as", "act as this user"),
    ("as-group", "act as a member of this group (may be repeated)"),
    ("certificate-authority", "file with the CA certificates to trust"),
    ("client-certificate", "file with the client certificate"),
    ("client-key", "file with the client key"),
    ("tls-server-name", "the name to expect in the server's certificate"),
    ("request-timeout", "give up on a request after this long (1s, 2m; 0 is never)"),
    ("cache-dir", "where discovery is remembered (default ~/.kube/cache)"),
)
#: Flags that take a value and may stand before the command's name.
LEADING_FLAGS = frozenset(
    {"-n", "--namespace", "-s", "--server", "-v", *(f"--{name}" for name, _ in VALUE_FLAGS)}
)
