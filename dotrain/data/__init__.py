"""Where columns come from: files, databases, feature stores; one table for all trials of a run."""
