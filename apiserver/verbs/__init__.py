"""What can be done to objects, one module a verb or subresource; `dispatch.py` finds the one of a request."""
