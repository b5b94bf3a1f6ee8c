"""Where endpoints come from: one file is one way to find them. They run in the control process, off the data path."""
