"""The documented ZMQ protocol: its messages, its server and its client."""
