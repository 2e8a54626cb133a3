"""Volumes: directories and files of the node that appear inside containers."""
