"""What is served, in words that tools read: OpenAPI v3 by group version, and v2 as a whole."""
