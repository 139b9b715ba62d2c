"""Custom resources as the API server serves them; schemas and documents are ``api.custom``'s."""
