"""What happened: a recorder that keeps every revision of every object, and the story told from it."""
