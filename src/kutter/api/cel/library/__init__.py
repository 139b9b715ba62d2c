"""Functions of the language and of Kubernetes, one module each; pure."""
