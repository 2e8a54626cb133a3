"""Container engines: base.py is the contract, docker.py keeps it on a Docker engine."""
