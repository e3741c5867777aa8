"""gRPC: the server, its calls, and what they hold of memory while they are read."""
