"""Volumes of pods: payloads (pure), the atomic writer, mounts, sub-paths."""
