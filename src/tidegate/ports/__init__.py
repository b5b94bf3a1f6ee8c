"""What one room promises another: the contracts of parts, the tools they are given, and the Plan."""
