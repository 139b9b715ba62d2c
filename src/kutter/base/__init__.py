"""Ground floor: clock, tasks, back-off, logs, metrics, files. Standard library only."""
