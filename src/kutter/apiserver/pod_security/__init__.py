"""The Pod Security Standards: privileged, baseline, restricted. Pure."""
