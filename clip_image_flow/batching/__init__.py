"""Items of many requests -> batches, fair between requests; none waits for a slow one."""
