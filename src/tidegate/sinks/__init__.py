"""Where records go: one file is one sink. A sink never blocks the loop; what it cannot take it drops and counts."""
