"""JAX: what it asks of a process, data in batches, and one program over the devices of several processes."""
