"""Other ways to run a network than eager PyTorch, and the converters behind `kinema export`."""
