"""What to leave out of a model: the study, its arms, graph surgery, statistics."""
