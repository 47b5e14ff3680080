"""Starting a project: a small config and train function that work."""
