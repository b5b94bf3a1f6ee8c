"""What the user wrote becomes a Plan: read, checked, written down as a generation, built. No traffic, no waiting."""
