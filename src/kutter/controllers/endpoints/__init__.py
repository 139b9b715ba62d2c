"""Which pods stand behind a service: Endpoints (classic) and EndpointSlices.

``membership`` is the shared pure part; ``classic`` and ``slices`` write the two forms.
"""
