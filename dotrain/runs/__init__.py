"""What a run is: from its definition, through its driver, to its result."""
