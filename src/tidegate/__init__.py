"""tidegate: one front door for REST services, gRPC services and AI models."""

__version__ = "0.1.0"
