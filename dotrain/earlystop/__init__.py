"""What to stop. The interface is `dotrain.core.policy.AbstractEarlyStop`."""
