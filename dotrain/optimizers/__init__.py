"""What to try next. The interface is `dotrain.core.policy.AbstractOptimizer`."""
