"""Callbacks of what trains PyTorch models: Lightning, Hugging Face's Trainer, skorch."""
