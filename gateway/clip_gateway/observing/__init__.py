"""Log lines and metrics of the gateway."""
