"""What the bodies of requests hold."""
