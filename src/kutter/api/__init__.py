"""The language of the cluster: tables, errors, selectors, quantities, patches. Pure, no I/O."""
