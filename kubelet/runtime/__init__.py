"""Container engines: base.py is the contract, docker.py keeps it on a Docker engine, fake.py in memory for tests."""
