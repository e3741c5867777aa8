"""What the machine or the container has: CPUs and memory."""
