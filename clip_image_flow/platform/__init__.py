"""CPUs and memory of the machine or the container."""
