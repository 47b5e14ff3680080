"""The user's functions: found, followed, named, shipped, loaded, recognised."""
