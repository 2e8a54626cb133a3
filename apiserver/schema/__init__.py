"""What the API server knows about the form of objects: how bodies are read, and what each kind may hold."""
