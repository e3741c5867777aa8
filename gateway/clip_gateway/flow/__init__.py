"""A request through the Flow: what is in it, who answers, with which model."""
