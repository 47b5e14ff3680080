"""Where trials run. The interface is `dotrain.executors.base.Executor`."""
