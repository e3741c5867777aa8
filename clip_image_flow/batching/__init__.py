"""Dynamic batching: items of many requests -> batches, fair between requests, never blocked by a slow item."""
