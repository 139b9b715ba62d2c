"""The API server: pipeline, verbs, authentication, authorization, admission, kinds."""
