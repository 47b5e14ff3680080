"""What to leave out of a model: the study, its arms, what is left out of a model, statistics."""
