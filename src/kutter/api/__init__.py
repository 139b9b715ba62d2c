"""The language of the cluster: schema tables, errors, selectors, quantities, patches; no I/O."""
