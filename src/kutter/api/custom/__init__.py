"""Custom kinds as data: a definition's schemas, compiled; pure, no I/O.

``schema`` makes nodes of the one form all kinds share, ``prune``, ``defaults``, ``values`` and
``lists`` are what is done with a document, ``structural`` and ``definition`` what is asked of a
definition.
"""
