"""Transports (local and HTTP), kubeconfig, typed and raw access to the API."""
