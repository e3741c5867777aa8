"""The gRPC server, its calls, and their memory limits."""
