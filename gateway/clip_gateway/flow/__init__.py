"""Processes requests through the Flow: limits on content, executors, replicas, models and health."""
