"""From a present document and what a client sends to the wanted document, and who owns which field of it. Pure."""
