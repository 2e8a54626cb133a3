"""One pod on this node: what to do (plan) and what to say of it (status), both pure; and the worker that does both."""
