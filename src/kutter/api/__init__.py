"""The language of the cluster: schema tables, errors, selectors, quantities, patches. Pure, no I/O."""
